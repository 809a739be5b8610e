"""How long English texts are asked for, what does not ask for one, and how a length is demanded. Slots as in `en_topics`."""

# What is asked: the heart of an instruction.
ASKS = """
(write|compose|draft) (a|one) (long|detailed|complete) {form} about {sub} {whom}
(write|compose) {aform} of considerable length {whom}: its (subject|theme) is {sub}
for {whomto} I need {aform} that (tells|explains) everything about {sub}
please (prepare|write) an (extensive|exhaustive) {form} on {sub}, (meant|intended) for {whomto}
could you write a (rich|full|thorough) {form} {whom} in which {sub} (plays the main part|stands at the centre)
{sub} (deserves|needs) a (long|careful) {form}; write it {whom}
imagine that you are {who} of {place} and (write|compose) {aform} on {sub} {whom}
produce a (full-length|many-sided) {form} on the {q} of {sub}
for {whomto}, (put together|create) a (long|comprehensive) {form} describing {sub} from (every side|beginning to end)
we are looking for a (lengthy|detailed) {form} (concerning|dealing with) {sub} {whom}
tell {whomto}, in the form of a (long|broad) {form}, what {who} knows about {sub}
(develop|work out) a (substantial|deep) {form} (around|out of) {sub}
your task: {aform} {whom}, as (long|detailed) as possible, about {sub}
(with patience and many examples|step by step|without leaving anything out), write {aform} on {sub} {whom}
"""
ASKS_BY_KIND = {
    "literature": """
tell the long story of {who}, who (loses|finds|inherits|hides) {as} in {place}
invent a (long|winding) {form} in which {as} and {asecond} meet (at night|by chance) in {place}
write a {form} of many scenes: {who} leaves {place} because of {as}
let {as} narrate its own (long|strange) {form} {whom}
""",
    "academic": """
(discuss|analyse) at length how {sub} (influenced|reflects|changed) {asecond} in a {form} {whom}
write a {form} with several chapters that (questions|tests) what {who} claimed about {sub}
review in depth the (history|study) of {sub}, with {asecond} as an example
compare {as} and {asecond} in a (scholarly|careful) {form} {whom}
""",
    "business": """
{who} wants to sell {as} in {place}: (work out|write) the complete {form}
(outline|plan) the next {number} years of a company that offers {as}, in a {form} {whom}
persuade investors from {place} with a (long|detailed) {form} about {as} and {asecond}
write the {form} of a firm in {place} that (rents|repairs|produces) {as}
""",
    "journalism": """
report at length from {place}, where {as} has (divided|united|surprised) the town, in a {form} {whom}
accompany {who} for a (week|month) and write a long {form} on {sub}
investigate why {place} (argues|worries) about {as} and write a {form} {whom}
interview {who} about {as} and turn it into a (long|lively) {form}
""",
    "professional": """
set out all duties of (trainees|managers|volunteers) who (handle|supervise) {as}, in a {form} {whom}
write the {form} for an office in {place} that is in charge of {as}
{who} leaves the department: explain in a (complete|detailed) {form} all that concerns {as} and {asecond}
draw up a {form} with examples on (safety|fairness|care) around {as} {whom}
""",
    "personal": """
write {aform} to {who}, telling (slowly|in detail) what {as} meant to you in {place}
look back on {number} years in {place} in {aform} about {as} and your {kin}
thank {who} for {as} in a (long|warm) {form} full of memories
describe the day when your {kin} lost {as} in {place}, as {aform}
""",
    "technical": """
explain in {aform} how to (build|install|repair|test) {as}, from the first step to the last
document the (assembly|maintenance|testing) of {as} in {place} in a (long|complete) {form} {whom}
write {aform} that teaches {whomto} to (operate|understand) {as} and {asecond}
describe all parts, faults and uses of {as} in a (thorough|clear) {form}
""",
}
# What may be wished for besides.
EXTRAS = """
explain how it came to be
include its history, its people and its future
use many (examples|comparisons)
describe (each|every) season in turn
do not forget {asecond}
quote {who} and (two|three) other (voices|witnesses)
end with (advice|a hope|a warning|a question)
show (advantages|joys) as well as (dangers|doubts)
begin in {place} and end far away
(dwell on|keep coming back to) {asecond}
weave in (weather|sounds|smells) and colours
give reasons for (every|each) claim
let {who} have the last word
(mention|consider) what {asecond} has to do with it
keep the tone (calm|cheerful|serious|friendly)
cover (costs|causes|origins), use and care
"""

UNSUITABLE = """
what is {digits} (plus|times|minus) {digits}?
translate the word (for |){n} into (French|German|Latin)
spell (the word |){n} (backwards|aloud)
is {an} (heavier|older|larger) than {an2}?
name one {adj} {n}
give (a synonym|one opposite) for {adj}
how many letters (does {n} have|are in {n})?
which colour (is|has) {an}?
answer yes or no: (can|may|should) {an} be {adj}?
what is the plural of {n}?
say hello to {name}
(in which year|when) was {town} founded?
write one (short |)sentence (about|with) {an}
reply with a single word: {n} or {n2}?
how far is it from {town} to {town2}?
who (is|was) {name} of {town}?
choose (a title of three words|one word|a number) for {an}
sort these words: {n}, {n2}, {n3}
what time does the (shop|library|train) in {town} open?
round {digits} to the nearest ten
does {name} (own|like|need) {an}?
(add|insert) the missing comma: {adj} {n} and {n2}
count from {small} to ten
which is longer, {an} or {an2}?
correct the spelling of {n}
define {n} in (five|six|ten) words
convert {digits} metres (to|into) feet
what rhymes with {n}?
"""

DEMANDS = """
about {num} words
around {num} words
roughly {num} words
approximately {num} words
{lo} to {hi} words
{lo}-{hi} words
between {lo} and {hi} words
from {lo} to {hi} words
more than {num} words
over {num} words
at least {num} words
less than {num} words
under {num} words
fewer than {num} words
"""
# {d} is the demand, {i} the request without its final mark, {I} with it, {low} with a small letter at the start.
WITH_DEMAND = """
{I} The text should have {d}.
{I} Length: {d}.
{I} It should come to {d}.
{I} Please write {d}.
{I} Aim for {d}.
{I} I would like {d}.
{I} Keep it to a length of {d}.
{I} The whole should run to {d}.
Using {d}, {low}
With a length of {d}, {low}
A text of {d}, please: {low}
Length wanted: {d}. {I}
{i}, in {d}.
{i}, with {d} in all.
{i} ({d}).
{i}; the length should be {d}.
"""
