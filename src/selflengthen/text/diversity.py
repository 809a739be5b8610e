"""How varied a text is, measured at equal length: distinct n-grams and compression, and the floors that the texts of a base model give.

What does not live here: refusing a text for it (`monotony`), and comparing models (the stages). Both measures fall with the length of what they
look at, so whole texts of different lengths are never compared: windows are.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from selflengthen.records import Floors
from selflengthen.text.count import Unit, glue, splitter

SMALLEST_WINDOW = 32
"""Units in a window below which neither measure says much."""
ENOUGH_WINDOWS = 8
"""Windows that `calibrate` wants before it trusts a length."""


@dataclass(frozen=True, slots=True)
class Diversity:
    """Both measures of one window, or their means over windows of equal length. Low is monotonous."""

    distinct_3: float
    """Share of the 3-grams of units that are different from each other, 0 to 1."""
    compression: float
    """Compressed over raw bytes; about 0.5 for English and 0.7 for Chinese prose at 256 units."""


def distinct_n(units: Sequence[str], n: int = 3) -> float:
    """Distinct over all n-grams (distinct-n of Li et al. 2016); 1.0 for fewer units than n."""
    total = len(units) - n + 1
    return len(set(zip(*(units[i:] for i in range(n)), strict=False))) / total if total > 0 else 1.0


def compression_ratio(text: str) -> float:
    """Compressed over raw bytes (zlib, level 6, UTF-8); 1.0 for an empty text. Other builds of zlib may differ in the third digit."""
    raw = text.encode("utf-8", "surrogatepass")
    return len(zlib.compress(raw, 6)) / len(raw) if raw else 1.0


def window_diversity(units: Sequence[str], unit: Unit) -> Diversity:
    """Both measures of one window. It is compressed with its units joined again, so that layout does not count."""
    return Diversity(distinct_n(units, 3), compression_ratio(glue(unit).join(units)))


def windowed_diversity(text: str, unit: Unit, window: int) -> Diversity | None:
    """Means over windows of `window` units that cover the whole text evenly; None when the text is shorter than one window.

    When the text is no multiple of the window, neighbours overlap a little: all windows are equally long and no tail is left out.
    """
    measured = _windows(text, unit, window)
    return Diversity(fmean(one.distinct_3 for one in measured), fmean(one.compression for one in measured)) if measured else None


def calibrate(texts: Iterable[str], unit: Unit, window: int, *, ratio: float = 0.85, percentile: float = 0.05) -> Floors:
    """Floors for the monotony check, from texts that the base model wrote itself before any training.

    Every text is cut into windows; a floor is `ratio` times the value that a share of `percentile` of the windows lies below. A base model writes
    short: while there are fewer than `ENOUGH_WINDOWS` windows the window is halved, down to `SMALLEST_WINDOW` units, and the window that was
    used stands in the answer. With too little text even then there is no floor. Nothing is drawn: the same texts give the same floors.
    """
    kept = list(texts)
    size = window
    while size >= SMALLEST_WINDOW:
        measured = [one for text in kept for one in _windows(text, unit, size)]
        if len(measured) >= ENOUGH_WINDOWS:
            distinct = _low([one.distinct_3 for one in measured], percentile)
            compression = _low([one.compression for one in measured], percentile)
            return Floors(window=size, distinct_3_min=ratio * distinct, compression_min=ratio * compression)
        size //= 2
    return Floors()


def _windows(text: str, unit: Unit, window: int) -> list[Diversity]:
    words = splitter(unit)(text)
    count = -(-len(words) // window) if len(words) >= window else 0
    last = len(words) - window
    starts = [i * last // (count - 1) if count > 1 else 0 for i in range(count)]
    return [window_diversity(words[start : start + window], unit) for start in starts]


def _low(values: list[float], percentile: float) -> float:
    return sorted(values)[int(percentile * len(values))]
