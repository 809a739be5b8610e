"""The English sentence patterns: `FIELDS>FIELDS  pattern`, said of the noun {n} and ending on the noun {m}.

A line `P>TM x` may be used for a person and ends on a tool or a machine. `*` is every field, `=` the field of the noun itself; `solid` and
the other names below stand for several. Slots: {dn} "the (old) lantern", {an} "an old lantern", {n} the bare noun, {jn} one of its
adjectives, {vn}/{bn} what a person did/does to it, {mn} what it is made of; {xm} {am} {dm} {jm} {vm} {bm} the same for {m}; {p} a person;
all others are in `en_phrases`. Every pattern ends on {m}: the last word of a sentence is what the next one is about. No fixed run of
words is longer than six, so that no pattern brings a ten-word sequence back by itself.
"""

GROUPS = {
    "*": "PAGFTMVUCIRDBWLEX",
    "solid": "TMVUCIR",
    "thing": "TMVUCIRDF",
    "place": "BWL",
    "hand": "TUCIRD",
    "alive": "AG",
    "mute": "AGFTMVUCIRDBWLEX",  # whatever does not speak
    "mind": "DEX",
}

COMMON = """
* > *  (|{L}, )(nobody|hardly anyone|no visitor) could (imagine|picture|describe) {dn} without {xm}
* > *  {T}, {p} (spoke of|asked about|thought about) {dn} and {often} (mentioned|remembered) {xm}
* > *  what {pp} (liked|admired|praised) (most|best) about {dn} was its {q}, (and|or perhaps) its closeness to {xm}
* > =  (compared with|unlike|next to) {am}, {dn} seemed {adv} {jn}, (|at least )to (somebody|anyone) who knew {xm}
* > *  (because|since) {why}, {dn} (became|remained) as (important|well known|familiar) as {xm}
* > *  "(without|thanks to|because of) {dn}," {p} {saidp} {t}, "(we all remember|people still notice|nobody forgets) {xm}."
* > *  {p} (described|imagined|defended) {dn} so {manner} that {pp} (soon|finally|even) forgot {xm}
* > *  (a story|a song|an old letter) from {town} (mentions|praises) {dn} together with {xm}
* > *  {number} {folk} (argued|wondered|talked) about {dn} (until|before) {p} {vm} {xm}
* > *  to (most|many|some) {pp}, {dn} (means|meant) {feel}, (much|just) like {xm}
* > *  {dn} (gave|gives|brought) {pp} a reason to {bm} {xm}
* > *  (although|even though) {why}, {p} (chose|preferred) {dn} (over|instead of) {xm}
* > *  the {q} of {dn} (surprised|pleased|puzzled) {p}, who (had once|already|{t}) {vm} {xm}
* > *  (some|others|a few) (say|believe|claim) that {dn} (has|had) (little|much|nothing) in common with {xm}
* > *  {T}, the (talk|conversation) turned (from|away from) {dn} to {xm}
* > *  whoever {often} (thinks|speaks|dreams) of {dn} (will|may) (also|one day) {bm} {xm}
* > *  if there is a (lesson|secret) in {dn}, it (lies|hides) in {xm}
* > *  {p} (kept|wrote|made) a (list|note|sketch) of {dn}, (next to|followed by|together with) {xm}
* > *  for {number} {span}, {dn} (caused|inspired) nothing but {feel}, and so did {xm}
* > *  {dn} (deserves|needed|received) (more|less) (attention|patience|respect) than {xm}
* > *  it took {p} {number} {span} to (understand|notice) how {dn} (changed|shaped) {xm}
"""

PERSON = """
P > AGFTMVUCIRDWLEX  {T}, {dn} {manner} {vm} {xm}
P > AGFTMVUCIRDBWLEX  {dn} (had always|has long|never) (wanted|hoped|meant) to {bm} {xm}
P > PAGTMVUCIRDBWLX  (because|since) {why}, {dn} {vm} {xm}
P > AGFTMVUCIRDBWLEX  {L}, {dn} met {p}, who had (just|once|often) {vm} {xm}
P > *  {dn} told {pp} (how|when|why) {p} {vm} {xm}
P > *  {dn} {saidp} {manner}: "(I never|I once|we often) {vm} {xm}."
P > mute  {dn} (spent|needed|waited) {number} {span} before somebody {vm} {xm}
P > mute  not only {p} but also {dn} {manner} {vm} {xm}
P > GFTMVUCIRDB  {dn} (earned|saved|paid|borrowed) {number} coins for {xm}
P > mute  instead of (resting|complaining|going home), {dn} {often} {vm} {xm}
P > mute  with {number} (friends|helpers|apprentices) and no (plan|hurry), {dn} {vm} {xm}
P > *  the (hands|eyes|voice|patience|laughter) of {dn} reminded {pp} of {xm}
P > AGFTVUCIRBWLE  {T}, a (parcel|letter|message) for {dn} (held|contained) a (picture|drawing|description) of {xm}
P > *  for {dn}, nothing was as (important|pleasant|difficult|dear) as {xm}
P > GFTMVUCIRDWL  {dn} promised {p} (a share of|a look at|a place beside|the use of) {xm}
P > FTMUCIRDEX  the (day|work|plan) of {dn} {often} (began|ended) with {xm}
P > *  whenever {why}, {dn} (thought of|dreamed of|asked about|spoke about) {xm}
P > mute  while {pp} (waited|slept|argued|sang) {l}, {dn} {vm} {xm}
P > PATMVULWEX  {p} warned {dn} {manner} about {xm}
P > mute  if {dn} had (stayed|waited|listened), {p} would have {vm} {xm}
P > AGTMVUCIRDWL  {dn} (knelt|sat|stood|paused) {l} and {vm} {xm}
P > UBVWT  everything {dn} (owned|needed|collected) was kept (in|under|behind) {xm}
P > AGFTMVUCIRDX  {dn} learned from {p} how to {bm} {xm}
P > mute  neither {dn} nor {p} (wished|dared|agreed|was able) to {bm} {xm}
P > GFTUCIRDA  {dn} (looked|searched) {l} for {number} hours and found only {xm}
P > AGTMVUIRDBWL  {number} times {dn} (tried|offered|refused) to {bm} {xm}
P > *  {dn} had a (nephew|niece|friend|rival) in {town} who {vm} {xm}
P > UBVLW  tired but {jn}, {dn} (fell asleep|rested|waited) {t} beside {xm}
P > *  {p} (trusted|admired|envied) {dn}, (especially|most of all) after {why}, and {vm} {xm}
P > CTIUF  {dn} (never|rarely|seldom) left {town} without {xm}
P > *  as a child, {dn} had (feared|loved|drawn|collected) more than one {m}
P > *  {dn} was {jn} and {jn}, as {pp} expected of somebody with {xm}
P > P  {T}, {dn} (shared|exchanged) (bread|news|stories|jokes) with {xm}
"""

SOLID = """
solid > mute  {T}, {p} {vn} {dn} and {manner} {vm} {xm}
TUCIRMVWB > TUWRGIV  {dn} is made of {mn}, (just like|and so is|except for) {xm}
TUCIR > UWTRG  {L}, {dn} (stood|lay|hung|rested) {t} beside {xm}
solid > TUWBVG  somebody had {vn} {dn} {manner} and left it (beside|near|behind) {xm}
thing > thing  {dn} (cost|was worth) {number} coins, (less|more) than {xm}
thing > mute  without {dn}, {pp} could (hardly|never) {bm} {xm}
thing > *  {dn} (belonged|was promised|was lent|was given) to {p}, who {vm} {xm}
hand > hand  {T}, {p} exchanged {dn} for {xm}
hand > UBWTVG  {dn} was (found|discovered|hidden) {l}, (inside|under|behind) {xm}
TUIRMV > RUWTD  the (sign|name|date) scratched into {dn} also (appears|appeared) on {xm}
solid > *  in the (rain|sun|wind|snow), {dn} (looks|sounds|smells) {adv} like {xm}
hand > UWBT  {p} keeps {dn} wrapped in (paper|straw|cloth) (close to|far from|next to) {xm}
solid > mute  children were {often} allowed to touch {dn} or {xm}
solid > PATVW  {dn} has a (crack|scratch|stain|dent) that {pp} blame on {xm}
solid > solid  {dn} looked {jn} and {adv} {jn} next to {xm}
thing > thing  to {bn} {dn}, {p} (first|usually|simply) {vm} {xm}
solid > solid  {p} {vn} {dn} with (a cloth|warm water|some wax|bare hands), then {vm} {xm}
solid > PLBW  the (maker|owner|seller) of {dn} came from {town}, (beyond|and knew|to look for) {xm}
solid > =  of {number} such pieces, {dn} is the only one that outlived {xm}
TUCIR > EX  {dn} was a (gift|reward|reminder), (given|chosen|bought) {t} after {xm}
TUMVIR > TUM  one (screw|corner|handle) of {dn} was (missing|loose), so {p} {vm} {xm}
TMV > mute  with {dn} it takes {number} minutes to {bm} {xm}
TM > TMUVW  {dn} works {often} (better|longer) than {xm}
T > GFAUCWL  (carefully|slowly|patiently) {p} used {dn} to {bm} {xm}
T > BWUV  after work, {dn} goes back to its place in {xm}
M > MTVBW  when it (stops|fails|overheats), {dn} is {vn} (before|together with) {xm}
M > TMUF  {T}, the (noise|smoke|heat) of {dn} (filled|reached|shook) {xm}
M > MTUVB  {dn} uses {share} of the (power|steam|oil) that drives {xm}
M > P  only {p} knows how to {bn} {dn}, (besides|except) {xm}
V > LBW  {T}, {dn} (rolled|moved|slid) {manner} (towards|past) {xm}
V > GFTUCAIRD  {dn} (carried|brought) {number} {folk}, some (luggage|hay|flour) and {xm}
V > LBW  (long|short) as the journey was, {dn} reached {xm}
V > PLW  the {ordinal} passenger of {dn} asked {l} for {xm}
U > TCDFIR  (on|under) {dn}, {p} (found|kept|forgot) {xm}
U > UWBR  {dn} fills {share} of the room (behind|opposite) {xm}
U > PAC  {dn} is (strong|wide|low) enough for {number} (cats|children|guests), or for {xm}
C > CP  {dn} was (too big|too warm|much too fine) for {xm}
C > CTUW  {T}, {p} (wore|dried|folded) {dn} beside {xm}
C > *  in the (pocket|lining|seam) of {dn} was a (picture|note) about {xm}
I > EPB  {T}, {dn} was (heard|played) {manner} (during|in honour of) {xm}
I > AILE  the (lowest|highest|softest) note of {dn} sounds like {xm}
I > UWTP  when {why}, {dn} stayed {adv} silent (behind|next to) {xm}
R > PAGLBVEI  {dn} shows {number} {folk}, a (grey|stormy|golden) sky and {xm}
R > PDX  (experts|critics|thieves) {manner} studied {dn} and (suspected|praised|copied) {xm}
R > BWUR  {dn} (hangs|stands) where {pp} once (prayed|danced|slept), (above|near) {xm}
"""

PLACES = """
place > mute  (near|beside|behind|not far from) {dn}, {p} {manner} {vm} {xm}
place > *  {T}, {dn} was full of {pp}, who {vm} {xm}
BL > BWL  the (road|path|way) to {dn} (passes|crosses|begins at|ends at) {xm}
B > BREMW  {dn} was (built|opened|planned|named) {number} years before {xm}
BL > mute  {pp} come to {dn} {t} to {bm} {xm}
BL > BWLVR  from {dn} (travellers|children|visitors) can see {xm}
place > PGREIXF  {dn} owes its (name|fame|charm|silence) to {xm}
place > PAGUVRWT  at the (heart|edge|entrance) of {dn} (stands|waits) {am}
place > mute  (few|many|most) {folk} leave {dn} before they have {vm} {xm}
place > *  the (sound|smell|silence|light) of {dn} reminded {p} of {xm}
place > *  when {why}, {dn} (offered|gave) {pp} shelter, and {p} {vm} {xm}
L > AGP  {T}, the (mist|shade|grass) of {dn} (hides|covers) {am}
L > LB  {number} {unit} (beyond|north of|south of) {dn} (lies|begins) {am}
L > GATVB  (floods|goats|storms|winters) have (changed|spared) {dn}, but {often} {xm}
L > BVTP  whoever wants to cross {dn} (must pay|should ask|needs) {xm}
B > PAEX  {dn} has {number} rooms, (each|one) (devoted to|named after) {xm}
B > GUTRM  (behind|inside) {dn}, {p} {manner} {vm} {am}
B > EFCR  {T}, the doors of {dn} (open|opened) for {xm}
B > P  the keys of {dn} are (kept|guarded) by {p} and {am}
BW > TMURC  {p} measured {dn} {t} and (ordered|bought|built) {xm}
W > UGTRV  through {dn} {pp} (saw|noticed|recognised) {xm}
W > UWGT  {dn} is {adv} {jn}, so {p} {vm} {xm}
W > BWL  {dn} (leads|opens) to {xm}
W > AP  {T}, {dn} (sheltered|hid|welcomed) a (grateful|tired|wet) {m}
place > EX  {dn} has {often} (known|hosted|forgotten) {xm}
"""

LIVING = """
A > GFTUCWLBV  {T}, {dn} {manner} (circled|watched|followed|inspected) {xm}
A > BGWUVL  {dn} {often} (sleeps|hides|nests|waits) {l}, close to {xm}
A > P  {dn} (recognises|follows|trusts|avoids) {p}, but hardly {xm}
A > A  {T}, {dn} shared its (food|shelter|shade) with {xm}
A > FTCUD  while {p} was busy {l}, {dn} (stole|broke|spoiled) {xm}
A > GL  {number} (tracks|feathers|marks) showed that {dn} had crossed {xm}
A > mute  {p} {vn} {dn} {t} and {manner} {vm} {xm}
A > *  the (eyes|cry|patience|habits) of {dn} made {pp} think of {xm}
A > PX  {dn} was {adv} {jn} for its age, (thanks to|according to) {xm}
A > VBWP  {dn} ran {manner} (towards|away from|around) {xm}
A > GF  nothing (attracts|feeds|delights) {dn} as (quickly|surely) as {xm}
A > ALD  in {town}, {dn} is (counted|protected|feared) more (often|strictly) than {xm}
G > BWLGU  {T}, {dn} (blooms|grows|spreads) {adv} close to {xm}
G > WRGUTP  the (shade|scent|shadow) of {dn} (reaches|covers|touches) {xm}
G > mute  {p} {vn} {dn} {manner} and later {vm} {xm}
G > FTDX  (from|out of) {dn} {pp} make (tea|dye|medicine|oil), (following|with the help of) {xm}
G > AG  when {why}, {dn} (fed|sheltered|outlived) {xm}
G > GR  (taller|older|paler|rarer) than {am}, {dn} (covers|frames) {xm}
G > PTD  {dn} needs (little water|much sun|good soil) and, (above all|according to {p}), {xm}
G > L  the seeds of {dn} travel {number} {unit} (across|along) {xm}
G > ATM  {T}, frost (damaged|bent|spared) {dn} and {xm}
F > F  {T}, {p} (served|ate|ordered) {dn} (with|after|before) {xm}
F > DX  the (recipe|secret) for {dn} (is|was) {adv} older than {xm}
F > TUM  {p} {vn} {dn} {manner} and put it (into|beside|under) {xm}
F > PB  {dn} from {town} is (better|sweeter|cheaper) than the one from {xm}
F > GLE  the (taste|smell) of {dn} brings back (memories|dreams) of {xm}
F > FGT  to prepare {dn}, {p} takes (salt|butter|flour|honey) and {xm}
F > EP  no (supper|market|family) in {town} is complete without {dn} and {xm}
F > AP  {number} {folk} shared {dn} (fairly|in silence) with {xm}
F > EFL  (warm|cold|fresh|dried), {dn} keeps for {number} days, (longer than|even during) {xm}
"""

MINDS = """
D > *  {dn} (mentions|describes|praises) {number} {folk}, a (journey|quarrel|discovery) and {xm}
D > UWTBC  {p} found {dn} {l}, (hidden|folded) inside {xm}
D > *  (on|near) the last page of {dn}, (an unknown hand|{p}) had drawn {xm}
D > PX  {T}, {p} {vn} {dn} and sent it to {town} together with {xm}
D > mute  after (reading|copying|losing) {dn}, {p} {vm} {xm}
D > *  one (line|word|page) of {dn} is {often} (misread|quoted) as a (joke|warning) about {xm}
D > DX  since {month}, {dn} has (contradicted|replaced|completed) {xm}
D > EP  {dn} was (written|printed|signed) {number} {span} after {xm}
D > *  {pp} learn {dn} by heart because it {often} speaks of {xm}
D > P  {share} of {dn} was (lost|burned|sold) {t} by {xm}
D > BUR  a copy of {dn} is (shown|kept|framed) {t} beside {xm}
E > *  during {dn}, {p} {manner} {vm} {xm}
E > FTCIRD  nobody (came|went) to {dn} without {xm}
E > BWL  {T}, {dn} took place {l}, within sight of {xm}
E > EX  {dn} (began|ended) {number} hours late (because of|despite) {xm}
E > PAI  {number} {folk} (prepared|enjoyed|paid for) {dn}, led by {xm}
E > E  {dn} was (shorter|louder|cheaper|merrier) than {xm}
E > *  what remains of {dn} is a (photograph|song|debt|stain) and {xm}
E > PX  {town} {often} (celebrates|repeats|postpones) {dn} in memory of {xm}
E > mute  before {dn}, {pp} {vm} {xm}
E > GRWU  for {dn}, {p} decorated the (hall|streets|stage) with {xm}
E > P  at the end of {dn}, a {feel} came over {xm}
X > *  {dn} (concerns|affects|includes) not only {pp} but also {xm}
X > PD  {p} (explained|wrote down|forgot) {dn} {t} for {xm}
X > mute  according to {dn}, nobody (may|should) {bm} {xm}
X > *  {dn} (came|arose) from a (quarrel|conversation|misunderstanding) about {xm}
X > XED  {dn} is {adv} {jn}, (unlike|but so was) {xm}
X > X  (behind|within) {dn} {pp} (suspect|recognise) {xm}
X > PB  {T}, {p} {vn} {dn} in front of {xm}
X > *  a good example of {dn} is the (story|case|fate) of {xm}
X > *  {share} of {folk} (share|oppose|misunderstand) {dn} because they once {vm} {xm}
X > TMDU  {dn} became (clear|useful) only when {p} {vm} {xm}
X > XE  {number} {span} of {dn} (taught|cost) {pp} more than {xm}
X > *  in {town}, {dn} is {often} (connected|compared|confused) with {xm}
X > PXD  (without|against) {dn}, {pp} would have (lost|refused) {xm}
"""

# What only one kind of text says.
BY_KIND = {
    "literature": """
* > *  in a dream, {p} saw {dn} turn {manner} into {xm}
* > *  the (moon|rain|fog) (wrapped|touched|hid) {dn}, and somewhere {l} waited {am}
* > *  "(beware of|do not forget|look after) {dn}," (whispered|sang|called) {p}, "or you will lose {xm}."
* > *  nobody (knew|guessed) that {dn} (kept|carried|feared) the secret of {xm}
* > *  (like a bird|like an old song|like smoke), the (thought|image) of {dn} drifted over {xm}
* > *  {T}, when {name} had almost given up, {dn} led to {xm}
* > *  (the wind|a strange voice|the silence) spoke to {dn} about {xm}
* > *  (long|once) before {p} was born, {dn} had been stolen from {xm}
* > *  {name} (laughed|wept|trembled), for {dn} (was gone|had returned), and so had {xm}
* > *  there was (magic|sorrow|music) in {dn}, and a little in {xm}
* > P  {name} whispered the story of {dn} {t} to {xm}
""",
    "academic": """
* > *  a {study} by {name} {shows} that {dn} (influences|precedes) {xm}
* > *  (earlier|later|regional) (work|research) treats {dn} as a (cause|form|model) of {xm}
* > *  in {share} of all cases, {dn} (depends on|differs from|goes back to) {xm}
* > *  the (data|sources|records) from {town} link {dn} {adv} closely to {xm}
* > *  (it may be asked|it is unclear|we therefore ask) whether {dn} (explains|presupposes) {xm}
* > *  following {name}, we (define|describe|classify) {dn} in terms of {xm}
* > *  the {ordinal} (table|chapter|example) (compares|contrasts) {dn} with {xm}
* > *  a (limitation|weakness|strength) of this approach is that {dn} excludes {xm}
* > *  {number} (interviews|samples|observations) suggest a relation between {dn} and {xm}
* > X  (in theory|in practice), {dn} {often} supports {xm}
* > *  (critics|supporters) of this view (object|reply) that {dn} resembles {xm}
""",
    "business": """
* > *  {firm} expects {dn} to (cover|reduce|repay) the cost of {xm}
* > *  in the {ordinal} quarter, {dn} (earned|saved|cost) {number} thousand coins, (as much as|unlike) {xm}
* > *  {share} of our customers (ask for|recommend|return) {dn} (together with|because of) {xm}
* > *  {firm} will (invest in|advertise|insure) {dn} before it (offers|replaces) {xm}
* > *  (demand|competition|interest) in {town} makes {dn} as (profitable|risky) as {xm}
* > *  compared with last {season}, {dn} sells {adv} better than {xm}
* > *  (our plan|the contract|the offer) (includes|combines) {dn}, a (discount|guarantee) and {xm}
* > *  {name}, who leads (sales|purchasing|production), (tested|approved) {dn} and {xm}
* > *  (a partner|an investor|a bank) in {town} will finance {dn} and {xm}
* > *  the (risk|margin|turnover) of {dn} is (lower|higher) than that of {xm}
""",
    "journalism": """
* > *  "(we are proud of|we worry about|everyone knows) {dn}," {saidp} {name}, who lives near {xm}
* > *  (officials|witnesses|residents) in {town} (confirmed|denied) on {weekday} that {dn} (threatens|replaces) {xm}
* > *  (according to|in the words of) {name}, {dn} (has divided|unites) {town} (like|more than) {xm}
* > *  a spokesman (would not comment on|briefly mentioned) {dn} and {xm}
* > *  {number} {folk} signed a petition for {dn} and against {xm}
* > *  (this newspaper|our reporter) first wrote about {dn} {number} {span} ago, after {xm}
* > *  (local|national) (interest|anger) grew {t} when {dn} was linked to {xm}
* > *  on {weekday} the council will vote on {dn} and {xm}
* > *  (photographs|documents) seen by our reporter show {dn} beside {xm}
""",
    "professional": """
* > *  {staff} (must|should|may) check {dn} before they {bm} {xm}
* > *  (section|rule|item) {number} (covers|explains) {dn} and the (use|care|choice) of {xm}
* > *  (all|new) {staff} (sign for|report on) {dn} {t}, (together with|in addition to) {xm}
* > *  if {dn} is (unclear|missing|unsafe), {staff} should {bm} {xm}
* > *  the (duty officer|team leader|safety adviser) (approves|records) {dn} and {xm}
* > *  (good|safe) practice means that {dn} is (planned|checked) {number} days before {xm}
* > *  during training, {staff} (discuss|practise with) {dn} and {xm}
* > *  (questions|complaints) about {dn} go to {name}, who also {vm} {xm}
* > *  {share} of all (delays|accidents|errors) (involve|begin with) {dn} or {xm}
* > *  the (form|checklist|record) for {dn} (is kept|can be found) with {xm}
""",
    "personal": """
* > *  I (still remember|will never forget) how {p} spoke of {dn} and {vm} {xm}
* > *  {T}, my {kin} (told us about|smiled at|asked for) {dn} and {vm} {xm}
* > *  I asked {p} about {dn} and (was shown|was given|discovered) {xm}
* > *  it was {dn} that (taught|helped|persuaded) me to {bm} {xm}
* > *  I would give {number} (coins|days|years) to (see|visit) {dn} again beside {xm}
* > *  to me, {dn} (means|meant) (home|summer|childhood), (much|just) like {xm}
* > *  we (laughed|talked|wondered) about {dn} until my {kin} {vm} {xm}
* > *  perhaps I (loved|feared|envied) {dn} because it (resembled|reminded me of) {xm}
* > *  (tonight|today|this week) I (wrote|dreamed|thought) about {dn}, then about {xm}
* > *  my {kin} (and I|always) (argued about|took care of) {dn} and {xm}
""",
    "technical": """
* > *  before {dn} is (moved|used|tested), the {tech} {must} (note|secure|isolate) {xm}
* > *  step {number}: (connect|compare|align) {dn} {manner} with {xm}
* > *  (values|readings) above {number} mean that {dn} (disturbs|overloads|needs) {xm}
* > *  the {tech} can (find|reach|identify) {dn} (behind|below|with the help of) {xm}
* > *  (allow|wait) {number} (minutes|seconds) until {dn} (settles|cools) beside {xm}
* > *  (figure|table) {number} (shows|lists) {dn} with (a label|an arrow) at {xm}
* > *  a (fault|gap|delay) in {dn} is {often} caused by {xm}
* > *  every {number} {span}, the {tech} {must} (inspect|record|clean) {dn} and {xm}
* > *  (do not|never) (place|store) {dn} within {number} {unit} of {xm}
* > *  the design {often} allows {dn} to work without {xm}
""",
}
