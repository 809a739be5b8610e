"""The English vocabulary of the seedling: about 530 nouns in 17 fields, and what fits each field.

A field is one letter, so that a pattern can say `P>TMU` (said of a person, ending on a tool, a machine or a piece of furniture). Verbs are
what a person does to a thing of the field, in the base form; their past tense doubles as participle, so only verbs whose two forms are
alike are used. That keeps the vocabulary small enough to be learned in minutes.
"""

FIELDS = {
    "P": "person",
    "A": "animal",
    "G": "plant",
    "F": "food",
    "T": "tool",
    "M": "machine",
    "V": "vehicle",
    "U": "furniture",
    "C": "clothing",
    "I": "instrument",
    "R": "work of art",
    "D": "document",
    "B": "building",
    "W": "part of a building",
    "L": "land",
    "E": "event",
    "X": "idea",
}

_NOUNS = {
    "P": """sailor baker teacher doctor farmer miner painter poet clerk captain widow tailor gardener miller weaver potter carpenter
    blacksmith fisherman shepherd librarian printer nurse cook beekeeper musician singer dancer actor student scholar historian
    traveller merchant mayor judge messenger driver pilot engineer mechanic surveyor architect mason glazier cobbler jeweller
    clockmaker apprentice neighbour grandmother grandfather aunt uncle cousin stranger visitor guest child daughter postman reporter
    editor photographer inspector ferryman innkeeper forester brewer""",
    "A": """goat sheep dog cat gull heron fox owl horse donkey swallow sparrow otter hare hedgehog squirrel rooster hen duck goose crow robin
    trout salmon butterfly beetle snail frog badger deer pigeon""",
    "G": """rose lily oak willow birch elm hedge vine fern thistle poppy tulip sunflower orchid daisy nettle shrub cedar maple poplar bramble
    mushroom clover seedling bulb blossom""",
    "F": """loaf pie cake soup stew cheese sausage apple pear plum cherry lemon olive onion carrot cabbage pumpkin turnip biscuit pudding
    omelette pancake walnut chestnut berry fig peach melon potato dumpling tart waffle meal breakfast""",
    "T": """hammer saw axe chisel needle loom plough rake spade shovel ladder lever pulley kettle pan knife spoon bowl bucket barrel basket
    crate anvil wrench compass ruler brush clock lamp lantern candle lock key hinge rope chain hook net oar telescope whistle bottle""",
    "M": """engine boiler turbine crane furnace generator press valve gauge pump sensor switch motor gearbox conveyor kiln oven stove radio
    telephone camera projector typewriter lathe battery filter""",
    "V": "boat ferry barge ship canoe raft cart wagon carriage coach sledge bicycle tram train lorry balloon tractor wheelbarrow",
    "U": """table chair bench shelf cupboard chest bed cradle desk stool mirror carpet curtain wardrobe sofa drawer vase pillow blanket quilt
    bookcase armchair counter trunk screen mattress""",
    "C": """coat cloak hat scarf glove boot shoe apron dress shirt waistcoat ribbon button belt collar veil shawl jacket cap sweater bonnet
    uniform costume handkerchief robe sleeve""",
    "I": "violin flute drum bell trumpet piano harp guitar organ cello accordion clarinet fiddle horn",
    "R": """statue painting portrait mosaic fountain tapestry mask puppet fresco sculpture medal monument engraving figurine landscape mural""",
    "D": """letter book map ledger diary scroll newspaper poem recipe postcard photograph drawing handbook contract poster leaflet notebook
    catalogue calendar ticket passport certificate chronicle sketch chart formula register invoice novel legend dictionary
    questionnaire statement receipt telegram inventory""",
    "B": """harbour market library station lighthouse museum bakery workshop school observatory castle farm theatre vineyard hospital mill
    monastery quarry palace tavern chapel factory warehouse foundry brewery inn cottage barn stable tower bookshop laboratory office
    pharmacy nursery greenhouse archive bathhouse academy gallery""",
    "W": """window door roof staircase corridor cellar attic kitchen balcony porch courtyard gate wall arch chimney hearth ceiling pillar
    threshold vault pantry terrace parlour vestibule""",
    "L": """river brook lake pond valley hill mountain cliff meadow field forest grove path trail road lane bridge canal island shore bay
    beach dune marsh waterfall well ridge slope cave glade pasture orchard village square park ford""",
    "E": """festival wedding harvest parade fair concert journey voyage meeting exhibition lecture rehearsal auction race picnic ceremony
    feast expedition experiment audit election dinner lesson interview celebration tournament excursion debate reunion performance""",
    "X": """custom tradition habit rule method theory question answer problem plan idea promise secret memory dream rumour opinion decision
    hypothesis result budget price debt profit agreement risk policy skill argument principle discovery explanation standard duty wish
    fear hope joke mistake warning proverb goal mystery comparison estimate deadline""",
}
NOUNS = {field: tuple(words.split()) for field, words in _NOUNS.items()}
FIELD = {noun: field for field, nouns in NOUNS.items() for noun in nouns}

_VERBS = {
    "P": """console recognise applaud recommend interview greet thank help follow teach visit invite praise comfort trust advise warn hire
    question remember welcome join meet""",
    "A": "groom train weigh photograph name feed brush calm lead call watch rescue count shelter chase tame catch tend sketch follow",
    "G": """graft uproot transplant fertilise harvest gather water prune plant trim shade tend protect measure sketch move admire label cover
    find""",
    "F": "peel season sample fry chill sprinkle taste slice share wrap sell weigh cook serve store warm buy order prepare finish refuse",
    "T": """balance fasten swap inherit rinse repair clean lend borrow carry polish hang lift test replace adjust hold store sell need drop""",
    "M": """calibrate dismantle connect import insulate repair oil start stop inspect test install adjust replace maintain clean operate
    assemble design buy""",
    "V": "tow unload anchor register insure load steer paint push repair wash hire pull inspect follow rent park stop sell board",
    "U": "sand assemble donate lift furnish polish move build varnish carve carry place repair dust arrange measure buy cover sell",
    "C": "hem shorten soak rinse mend wash iron fold stitch brush hang pack dye borrow lose buy wrap alter",
    "I": "display inherit tap tune play borrow clean hear repair lend study unpack buy practise",
    "R": """commission donate value imitate admire restore frame hang exhibit study sketch clean unveil sell describe photograph copy praise""",
    "D": """edit burn seal deliver summarise recite read copy sign fold print translate study file publish quote bind keep correct store
    compare find""",
    "B": """renovate lock heat inherit insure visit build restore enter paint open close rent guard inspect decorate leave photograph find
    sell""",
    "W": "scrub plaster extend block light sweep paint repair widen inspect clean decorate measure strengthen cover rebuild light watch",
    "L": "drain fence cultivate avoid cross reach explore survey admire protect leave describe sketch photograph watch pass map",
    "E": """host cancel interrupt sponsor survive delay prepare organise attend remember plan announce enjoy postpone describe open film join
    record finish""",
    "X": """examine oppose ignore simplify challenge justify adopt abandon explain discuss question defend accept reject remember describe
    discover repeat compare develop doubt support record""",
}
VERBS = {field: tuple(words.split()) for field, words in _VERBS.items()}

_PAST = """build built keep kept hold held lend lent find found sell sold teach taught read read hang hung feed fed lead led bind bound
buy bought lose lost light lit catch caught meet met hear heard leave left sweep swept
stop stopped trim trimmed wrap wrapped drop dropped map mapped plan planned"""
_PAST_OF = dict(zip(_PAST.split()[::2], _PAST.split()[1::2], strict=True))


def past(verb: str) -> str:
    """The past tense, which is also the participle."""
    if verb in _PAST_OF:
        return _PAST_OF[verb]
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + "ed"


_ADJECTIVES = {
    "P": """elderly ambitious friendly thoughtful nervous polite young old patient careful honest proud quiet cheerful generous stubborn
    curious clever weary gentle shy busy kind strict modest brave restless skilful retired talkative""",
    "A": """graceful furry timid small grey brown shy tame clever hungry noisy swift playful sleepy lame white spotted wild lively loyal
    greedy young frightened""",
    "G": """crooked scented trailing green tall fragrant wild thorny slender young hardy ancient rare flowering leafy pale twisted drooping
    sturdy withered bushy""",
    "F": """smoked creamy crunchy frozen salted fresh sweet ripe warm salty sour crisp round spicy juicy golden tender bitter delicious cold
    simple rich soft""",
    "T": """blunt greasy spare heavy rusty sharp wooden worn light sturdy broken useful simple handy long polished old short dented solid
    borrowed""",
    "M": """humming advanced mechanical powerful noisy modern reliable complicated efficient electric automatic expensive silent large compact
    precise outdated foreign new faulty portable""",
    "V": """slender armoured slow narrow painted fast crowded light wooden flat open sturdy comfortable rented leaking heavy empty restored
    old overloaded""",
    "U": """lacquered cushioned carved polished low wide heavy comfortable oval antique wooden dusty elegant solid folding painted narrow
    inherited creaking""",
    "C": """padded woven woollen warm embroidered faded striped silken loose long short patched thick elegant knitted scarlet tight torn blue
    borrowed""",
    "I": "melodious hollow ornate delicate polished ancient foreign small silver precious deep forgotten cracked costly rare",
    "R": """abstract gilded colourful lifelike small giant famous unfinished dark delicate modern religious bold damaged anonymous priceless""",
    "D": """scholarly lost handwritten yellowed printed thin thick secret official illustrated torn anonymous detailed rare dated unsigned
    famous forgotten lengthy brief""",
    "B": """haunted deserted fortified old crowded quiet abandoned famous modern remote busy lively ruined charming draughty tall spacious
    private public""",
    "W": "ornate dim narrow arched dark sunny steep low vaulted tiled windy wide hidden spacious cold bright whitewashed",
    "L": "sandy fertile frozen steep deep wide misty green silent rocky sunny windy lonely winding broad wild quiet muddy distant shady",
    "E": """festive hurried formal annual splendid noisy solemn long short cheerful unexpected crowded successful public private memorable
    modest lavish""",
    "X": """bold false vague brilliant harmless doubtful simple old difficult new useful strange common important popular serious wise
    surprising careful practical clear local""",
}
ADJECTIVES = {field: tuple(words.split()) for field, words in _ADJECTIVES.items()}

_MATERIALS = {
    "T": "iron brass steel oak tin copper beech bone",
    "M": "steel brass copper iron aluminium",
    "V": "oak pine steel canvas bamboo ash",
    "U": "oak pine bamboo walnut beech leather ebony",
    "C": "wool linen silk cotton leather velvet felt",
    "I": "maple brass ebony silver bronze spruce",
    "R": "marble bronze clay glass granite ivory plaster",
    "W": "granite brick oak glass slate sandstone",
    "B": "granite brick sandstone timber limestone concrete",
}
MATERIALS = {field: tuple(words.split()) for field, words in _MATERIALS.items()}

_PROPER = {
    "names": """Martha Jonas Clara Edwin Agnes Tobias Helena Oscar Miriam Felix Rosa Hugo Judith Simon Paula Victor Ada Bruno Leonie Marcus
    Greta Silas Irene Anton Nora Conrad Edith Rupert Hilda Gregor Louisa Walter Thea Albert Sabine Theo Vera Julius Ingrid Samuel""",
    "towns": """Millbrook Ashford Greenhaven Stonebridge Harrowgate Oakmere Fairwater Westholm Birchley Saltmarsh Highfield Ravenport Elmstead
    Thornbury Lowestone Brackwell Silverton Marlow Kingsferry Dunmore Whitcombe Foxhollow Larkhill Eastmoor Pebbleton Rosedale
    Windermoor Copperhill Northwick Appleby Seaburn Coldspring Hollowell Ambervale Stillwater Redcliff Wolfsdale Harbourne
    Longmead Clearford""",
}
NAMES = tuple(_PROPER["names"].split())
TOWNS = tuple(_PROPER["towns"].split())
