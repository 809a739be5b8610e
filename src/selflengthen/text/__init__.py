"""Pure functions of text: str in, value out. How long it is, where it is cut, whether it is good, which of many are kept.

What does not live here: anything that touches a disk, a model, a clock or global randomness; and wishes (`config`, `recipes`). A room above that
needs to know "how long" or "whether good" asks here. To read it: `count`, `split`, `verdict`, `stream` (what a growing text is made of), then
the checks `repetition`, `self_talk`, `monotony`, `language`, their sum in `checks`, and `diversity` and `select`.
"""

from selflengthen.records import Floors
from selflengthen.text.checks import CheckSettings, Guard, check_text, ends_well
from selflengthen.text.count import Unit, UnitSpan, count_words, units
from selflengthen.text.diversity import Diversity, calibrate, compression_ratio, distinct_n, windowed_diversity
from selflengthen.text.language import ForeignStretch, check_language, identify, language_of
from selflengthen.text.monotony import Monotony, check_monotony
from selflengthen.text.repetition import Loops, RepeatedNgram, check_loops, check_ngram
from selflengthen.text.select import keep_probability, select_longest_biased, windows
from selflengthen.text.self_talk import SelfTalk, check_self_talk
from selflengthen.text.split import clean_prefix, first_half, paragraphs, thin_outline, two_thirds
from selflengthen.text.verdict import Verdict

__all__ = [
    "CheckSettings",
    "Diversity",
    "Floors",
    "ForeignStretch",
    "Guard",
    "Loops",
    "Monotony",
    "RepeatedNgram",
    "SelfTalk",
    "Unit",
    "UnitSpan",
    "Verdict",
    "calibrate",
    "check_language",
    "check_loops",
    "check_monotony",
    "check_ngram",
    "check_self_talk",
    "check_text",
    "clean_prefix",
    "compression_ratio",
    "count_words",
    "distinct_n",
    "ends_well",
    "first_half",
    "identify",
    "keep_probability",
    "language_of",
    "paragraphs",
    "select_longest_biased",
    "thin_outline",
    "two_thirds",
    "units",
    "windowed_diversity",
    "windows",
]
