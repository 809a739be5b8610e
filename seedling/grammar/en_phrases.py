"""Phrases that fill the slots of the English patterns: time, place, reason, people and so on.

The notation of `dsl`: `(a|b|c)` is one of them, an empty branch leaves the part out, `{name}` is another slot. Each phrase is small and
built from smaller ones, so that few words make many phrases and no fixed run of words is long.
"""

PHRASES = {
    "season": "(spring|summer|autumn|winter)",
    "weekday": "(Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)",
    "month": "(January|March|April|May|June|August|September|October|November)",
    "number": "(two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|forty|sixty)",
    "ordinal": "(second|third|fourth|fifth|sixth)",
    "span": "(days|weeks|months|years|winters)",
    # When: at the start of a sentence ({T}) and inside one ({t}).
    "T": "(in {season}|one {weekday} (morning|evening|afternoon)|at (noon|midnight|dawn|nightfall)|in the (early|late) (morning|afternoon)|"
    "after the (storm|rain|snow|feast days)|before (sunrise|sunset|supper|the frost came)|last ({season}|{month})|"
    "{number} {span} (later|ago)|in the year of the (flood|drought|great frost)|during the (holidays|dry weeks|long nights)|"
    "on the {ordinal} day|soon afterwards|once a (week|month|year)|every {season}|in {month}|on (market|rainy|quiet) days|"
    "for the first time|at the end of {month}|since {month})",
    "t": "(in {season}|one {weekday}|at (noon|dawn|nightfall)|after (breakfast|supper|work|the storm)|before (sunrise|sunset)|"
    "last {month}|in {month}|that {season}|for {number} {span}|every {weekday}|the same (day|evening|week)|once more|long ago|at last)",
    # Where. Only words that no sentence ends on, so that the noun to go on with is never in doubt.
    "L": "({where} the ({spot})|{where} ({spot}) of {town}|in the (upper|lower|old) (rooms|streets|town))",
    "where": "(behind|beside|near|below|above|close to|across from|beyond|opposite)",
    "spot": "(linden trees|city walls|last houses|market stalls|town hall|railway tracks|ruins|docks|steps|rooftops|playground|"
    "water tower|allotments|boundary stones|stables|crossroads|vegetable beds|bus stop)",
    "l": "({where} the {spot}|in (broad daylight|the dark|the rain|the open air)|at (home|work|sea|the crossroads)|"
    "far from (home|the crowd|the noise)|out of (sight|doors))",
    "manner": "(slowly|carefully|proudly|quietly|gladly|patiently|eagerly|politely|gently|firmly|secretly|hastily|cheerfully|nervously|"
    "with (care|pride|a smile|both hands|some effort|great patience|little hope)|without (a word|hurry|help|fear))",
    "often": "(often|rarely|always|sometimes|seldom|usually|never)",
    "why": "(the {season} had been (long|mild|hard|wet)|nobody (wanted|dared) to (wait|ask|refuse)|the work took {number} {span}|"
    "it was (cheaper|safer|easier|quicker) that way|the light was (poor|fading|perfect)|the price was (fair|rising|too high)|"
    "{pp} had (asked for it|insisted|agreed|complained)|there was no (other way|time left|money left)|"
    "tradition (asked|allowed) for it|the wind (turned|rose|was too strong)|the ground was (soft|frozen|too wet)|"
    "the story was (true|well known)|{name} had (promised it|forgotten it|said so)|the old one was (gone|broken|lost)|"
    "a (guest|shipment|celebration) was expected|the rain (had stopped|would not stop)|{pp} needed (proof|help|rest|comfort))",
    "adv": "(almost|quite|rather|surprisingly|remarkably|hardly)",
    "q": "(beauty|strength|age|history|colour|shape|sound|weight|craft|charm|value|comfort|size|condition|reputation|simplicity)",
    "feel": "(joy|relief|surprise|pride|regret|curiosity|sadness|gratitude|doubt|envy)",
    "pp": "(|many |some |several |most ){folk}",
    "folk": "(neighbours|visitors|travellers|children|merchants|scholars|villagers|gardeners|musicians|workers|"
    "families|guests|students|customers|readers|colleagues|farmers|strangers|experts|pilgrims)",
    "kin": "(mother|father|grandmother|grandfather|aunt|uncle|brother|sister|cousin)",
    "share": "(a tenth|a third|a quarter|half|two thirds|most)",
    "unit": "(metres|kilos|coins|hours|pages|steps|people)",
    "study": "(survey|study|report|sample|comparison|trial|analysis)",
    "shows": "(shows|suggests|confirms|indicates|implies)",
    "staff": "(members of staff|new employees|volunteers|supervisors|team leaders|trainees|managers|contractors)",
    "firm": "(the company|the cooperative|our department|the board|the workshop team|the supplier|the partnership)",
    "saidp": "(said|explained|recalled|added|insisted|told reporters|remarked)",
    "tech": "(operator|technician|installer|user|fitter|maintenance crew)",
    "must": "(must|should|has to|is advised to)",
}
