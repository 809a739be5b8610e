"""Whether an instruction was there before: the same, or too near. What does not live here: what to do about it (`instruct`).

Nearness is ROUGE-L (the F1 of the longest common subsequence of words), the measure and the threshold of Self-Instruct (arXiv 2212.10560).
It equals the normalised InDel similarity of the two word lists, which rapidfuzz computes in bit-parallel.
"""

from rapidfuzz.distance import Indel
from rapidfuzz.process import extractOne

from selflengthen.text import units


class NearDuplicates:
    """The instructions of one language so far. `threshold` 1 finds equal ones only (but for case and spaces)."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._texts: list[str] = []
        self._words: list[list[str]] = []

    def add(self, text: str) -> None:
        """From now on, `text` was there before."""
        self._texts.append(text)
        self._words.append(_words(text))

    def find(self, text: str, *, exact: bool = False) -> str | None:
        """The nearest earlier text if it is too near, else None. `exact`: only an equal one is."""
        cutoff = 1.0 if exact else self.threshold
        best = extractOne(_words(text), self._words, scorer=Indel.normalized_similarity, score_cutoff=cutoff)
        return self._texts[best[2]] if best else None


def _words(text: str) -> list[str]:
    """Words, or characters where there are no words between spaces."""
    return [unit for unit, _, _ in units(text.casefold(), "cjk")]
