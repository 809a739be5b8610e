"""What English texts are about and how they begin, go on and end, by kind; and how they are asked for.

Slots of the topic: {s} the subject's noun, {ds} "the (old) lantern", {as} "an old lantern", {place} the town, {who} the person, {form} what is
written, {aform} the same with its article, {aud} for whom, {second} another noun that the text is to touch. Openings and topic sentences end
on {xm}, which the next sentence is about. Closings end the text: nothing is ever put after one.
"""

# Which fields a text of a kind may be about, and what is written.
SUBJECTS = {
    "literature": "PAGTUCIRBLV",
    "academic": "GRDEXBLIM",
    "business": "FTUCVBMGD",
    "journalism": "EBLVPRXW",
    "professional": "EMDXBTU",
    "personal": "PAGFUCILETBV",
    "technical": "MTVIWUB",
}
FORMS = {
    "literature": ("short story", "fairy tale", "fable", "ghost story", "mystery story", "adventure story", "legend", "novel chapter"),
    "academic": ("essay", "research paper", "literature review", "thesis chapter", "case study", "field study", "lecture", "treatise"),
    "business": ("business plan", "proposal", "market report", "annual report", "brochure", "strategy paper", "prospectus", "press release"),
    "journalism": ("newspaper article", "feature", "editorial", "portrait", "travel report", "magazine column", "news story", "review"),
    "professional": ("guideline", "training course", "inspection report", "code of conduct", "policy", "job description", "handover note"),
    "personal": ("letter", "diary entry", "memoir", "travel journal", "speech", "blog post", "family chronicle", "reminiscence"),
    "technical": ("manual", "user guide", "specification", "maintenance guide", "tutorial", "test report", "design document"),
}
AUDIENCES = tuple(
    """young readers|visitors from abroad|the town council|a local newspaper|a history class|new employees|the whole family|a design journal
    |curious travellers|the general public|trainee engineers|first-year students|retired teachers|an evening school|the museum shop
    |a national magazine|the board of directors|future owners|the annual assembly|hobby gardeners|a circle of friends|apprentices
    |the city archive|a summer academy|children of ten|careful beginners|busy managers|the insurance company|small businesses|old sailors
    |a radio programme|night-shift workers|amateur historians|a wedding party|our grandchildren|the village school""".replace("\n    ", "").split("|")
)

OPENINGS = {
    "literature": """
once upon a time, (in|near|behind) {place}, there was {as} (that|which) {pp} {often} (mistook for|compared with) {xm}
{T}, when {place} was still a (village|forest|small port), {who} first saw {ds} and {xm}
nobody in {place} (expected|believed) that {ds} would one day (save|betray|replace) {xm}
the (story|trouble|wonder) of {ds} began {t}, when {who} {vm} {xm}
{who} had (heard|dreamed) of {ds} long before {p} came to {place} with {xm}
(all her life|every night|{T}), {who} (waited|listened) for {ds}, with nothing but {xm}
in {place} they still tell how {who} lost {ds} and {vm} {xm}
""",
    "academic": """
this {form} (examines|discusses|considers) {ds} of {place} and its relation to {xm}
(few|many) (scholars|historians) have (studied|overlooked) {ds}, and {who} {shows} why it (matters|depends on) {xm}
the (aim|purpose) of this {form} is to explain how {ds} (influenced|shaped) {xm}
since the work of {who}, {ds} of {place} has been (treated|read) as a (key to|form of) {xm}
{ds} (raises|poses) {number} questions, the first of which (concerns|involves) {xm}
(in recent years|for {number} years), research in {place} has turned from {ds} to {xm}
what is (known|written) about {ds} (rests|depends) on {xm}
""",
    "business": """
this {form} presents {ds}, which {who} will (offer|build|sell) in {place} together with {xm}
{place} needs {as}, and {firm} is ready to (deliver|finance) it with {xm}
{T}, {who} founded a (company|workshop|shop) in {place} for {ds} and {xm}
the (purpose|goal) of this {form} is to (win|convince) partners for {ds} and {xm}
with {ds}, {firm} (answers|meets) a growing (demand|need) in {place} for {xm}
(we are|{firm} is) proud to (announce|introduce) {ds} of {place}, (created|tested) by {who} and {xm}
""",
    "journalism": """
{place}, {weekday}: {ds} has (surprised|divided|delighted) the town, (beginning|starting) with {xm}
(when|before) {who} arrived in {place} {t}, {ds} was little more than {xm}
on {weekday}, {number} {folk} gathered in {place} to see {ds} and {xm}
{ds} is the talk of {place}, and {who} (knows|asks) why it (needs|reminds {pp} of) {xm}
(not far|{number} kilometres) from {place}, {who} has spent {number} years with {ds} and {xm}
"{ds} belongs to all of us," {saidp} {who} in {place}, (opening|blessing|praising) {xm}
""",
    "professional": """
this {form} (sets out|describes) how {staff} in {place} (plan|handle|look after) {ds} and {xm}
the purpose of this {form} is to (protect|improve) {ds} and, (where needed|above all), {xm}
{who}, who is responsible for {ds} in {place}, (drew up|approved) these rules after {xm}
{staff} (read|receive) this {form} before they (work with|take over) {ds} or {xm}
since {month}, {ds} in {place} (falls|comes) under new rules, (as does|together with) {xm}
(clear|written) rules for {ds} save time, (worry|money) and often {xm}
""",
    "personal": """
dear {who}, (today|this morning|at last) I (want|have time) to tell you about {ds} of {place} and {xm}
{weekday}, {place}: I (woke|rose) early, thought of {ds} and {vm} {xm}
I was {number} years old when {who} showed me {ds} beside {xm}
dear friends, {ds} has (brought|kept) us together in {place}, like {xm}
(whenever|if) I (think|speak) of {place}, I see {ds}, my {kin} and {xm}
my {kin} {who} left me {ds}, a (promise|debt|smile) and {xm}
{T}, on the way to {place}, I (met|found|remembered) {ds} near {xm}
""",
    "technical": """
this {form} (explains|shows) how {ds} is (built|used|tested) in {place}, (starting|beginning) with {xm}
in this {form} the {tech} will learn to (set up|understand|check) {ds} and {xm}
{ds} was developed by {who} in {place} to (replace|support) {xm}
(read|keep) this {form} before you (use|open|repair) {ds} or {xm}
{ds} consists of {number} parts, the (largest|first|heaviest) of which (resembles|carries) {xm}
the {form} of {ds} (applies to|covers) all {number} models made in {place}, except for {xm}
""",
}

TOPIC_SENTENCES = {
    "*": """
(as for|concerning) {ds} itself, {pp} in {place} (think|speak) first of {xm}
{who} (has known|remembered) {ds} for {number} {span}, (longer than|and with it) {xm}
(another|one more) thing about {ds} (deserves|needs) a closer look: {xm}
what {place} (owes to|expects from) {ds} can be seen in {xm}
{T}, {ds} (changed|returned), and with it (changed|returned) {xm}
(between|apart from) {who} and {ds} there was also {xm}
the {q} of {ds} is (known|discussed) far beyond {place}, (thanks to|like) {xm}
it was {who} who first (brought|compared) {ds} (close|once more) to {xm}
(the people|the children|the elders) of {place} {often} (visit|mention) {ds}, but seldom {xm}
there are {number} reasons to (value|remember) {ds}, and the {ordinal} is {xm}
(seen|judged) from {place}, {ds} has (less|more) to do with {feel} than with {xm}
{who} once (lost|won) a bet about {ds}, and the (price|prize) was {xm}
(before|after) {ds} came to {place}, {p} {vm} {xm}
(few|not all) who (mention|praise) {ds} have {vm} {xm}
(rightly|wrongly), {ds} is (blamed|thanked) for {xm}
a (visit|walk|question) of {who} changed how {place} saw {ds} and {xm}
""",
    "literature": """
{T}, {who} went (back|alone) to {ds} and (found|missed) {xm}
"(tell me|promise me|show me) {ds}," {saidp} {who}, (and|while somebody) {vm} {xm}
(that|the same) (night|morning), all of {place} searched for {ds} and for {xm}
""",
    "academic": """
the {ordinal} (part|section) turns to {ds} in {place} and asks about {xm}
{who} argues that {ds} (cannot|should not) be separated from {xm}
(for {place}|in this case), {ds} can be (measured|described) by its {q} and by {xm}
""",
    "business": """
the market for {ds} in {place} (grew|changed) in {number} {span}, (unlike|along with) {xm}
to (sell|produce) {ds}, {firm} needs {number} {folk}, a (storehouse|loan) and {xm}
{who} is in charge of {ds} and (answers for|oversees) {xm}
""",
    "journalism": """
(critics|supporters) of {ds} in {place} point to its {q} and to {xm}
{who} remembers the (first|worst) {span} with {ds}: no (money|roof|light), only {xm}
(how|whether) {ds} will survive in {place} may depend on {xm}
""",
    "professional": """
the {ordinal} (duty|rule) concerns {ds} and (applies to|begins with) {xm}
{who} (reports|decides) on {ds} once a (week|month) and then on {xm}
(careful|regular) work with {ds} in {place} (requires|includes) {xm}
""",
    "personal": """
you (asked|wrote) me about {ds}, and so I (must|should) begin with {xm}
in {place} my {kin} and I {often} (shared|forgot) {ds} for the sake of {xm}
I (wish|believe) {who} had seen {ds} {t}, (instead of|together with) {xm}
""",
    "technical": """
the {ordinal} part of this (text|work) (describes|tests) {ds} together with {xm}
(in normal use|under load), {ds} (lasts|works) {number} hours without {xm}
{who} (recommends|requires) that {ds} in {place} be (checked|cleaned) after {xm}
""",
}

CLOSINGS = {
    "literature": """
and (if|since) nobody has (moved|broken|sold) it, {place} still has its {s}
so {who} (came|went) home at last, and (behind|before) the door waited {ds}
(from that day on|ever since), {pp} in {place} (greet|honour|fear) {ds}
that was the (end|price|secret) of it all, {saidp} {who}, and (closed|blessed) {ds}
""",
    "academic": """
(in conclusion|in sum), (further|more careful) research in {place} should (return to|begin with) {ds}
the (evidence|argument) (remains|is) open, but it (cannot|should not) leave out {ds}
these (findings|remarks) may help to (explain|protect|classify) more than one {s}
(taken together|all in all), the (sources|results) (justify|invite) a new view of {ds}
""",
    "business": """
{firm} (invites|asks) all partners in {place} to (support|invest in) {ds}
(for these reasons|in short), {who} (recommends|proposes) to (approve|fund) {ds}
(the next step|what remains) is a contract for {ds}
we (look forward to|thank you for) the (first|next) {number} {span} with {ds}
""",
    "journalism": """
(for now|until {month}), {place} will have to (wait for|live with) {ds}
{who} (smiles|shrugs) and (returns|walks back) to {ds}
(one thing is certain|this much is clear): {place} would not be the same without {ds}
the (council|town) decides (in {month}|on {weekday}) about {ds}
""",
    "professional": """
(questions|suggestions) (go|should be sent) to {who}, who is responsible for {ds}
these rules (take effect|apply) from {month} and (replace|complete) all earlier ones for {ds}
(thank you|we thank all {staff}) for the care given to {ds}
{who} will (review|renew) this text after {number} {span} with {ds}
""",
    "personal": """
(with love|yours|warm greetings) from {place}, and (please|do) look after {ds}
(good night|enough for today), and tomorrow I will (visit|write about) {ds} again
(that is|this was) my story, and (I am grateful for|it ends with) {ds}
please raise your glasses (to {who}, |)to {place} and to {ds}
""",
    "technical": """
(after|with) these {number} (steps|checks) the {tech} can (safely|again) use {ds}
for (spare parts|further help), write to {who} in {place} and (name|describe) {ds}
(keep|store) these pages (dry and|) within reach of {ds}
the (test|work) is complete when nothing (disturbs|overheats) {ds}
""",
}
