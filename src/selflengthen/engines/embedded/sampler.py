"""Picks the next token of every row at once, each with its own settings: the library's logits processors, in its order, over rows.

Repetition penalty (over prompt and answer), temperature, top-k, top-p, as `generate` applies them. Only the highest few logits are sorted where
every row has a top-k. The draw inverts the distribution at a number that each row's own generator gives, so a row's text does not hang on its
neighbours, but for rounding: a product over another number of rows may differ in the last bit, and a draw on the edge may then fall otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from selflengthen.records import Sampling

MARGIN = 16
"""Candidates beyond the largest top-k: the library keeps all tokens that equal the k-th, and 16-bit logits tie."""

COLDEST = 1e-20
"""Below this temperature the highest logit wins anyway, and a logit divided by it may overflow 32 bits: the row is greedy."""


@dataclass(slots=True)
class Settings:
    """The settings of the rows of one step, as columns."""

    greedy: torch.Tensor | None
    """Which rows take the highest; None: no row does."""
    all_greedy: bool
    penalised: bool
    shrinking: bool
    """Every penalty is 1 or more."""
    temperature: torch.Tensor
    top_k: torch.Tensor
    """Counted from 0: the place of the last kept candidate."""
    below: torch.Tensor
    """1 - top_p: the mass of the unlikeliest tokens that is dropped."""
    candidates: int

    @classmethod
    def of(cls, samplings: Sequence[Sampling], vocabulary: int, device: torch.device) -> "Settings":
        greedy = [one.temperature < COLDEST for one in samplings]
        top_k = [min(one.top_k or vocabulary, vocabulary) for one in samplings]
        penalties = [one.repetition_penalty for one in samplings]

        def column(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, device=device, dtype=torch.float32)[:, None]

        return cls(
            greedy=torch.tensor(greedy, device=device) if any(greedy) else None,
            all_greedy=all(greedy),
            penalised=any(penalty != 1 for penalty in penalties),
            shrinking=all(penalty >= 1 for penalty in penalties),
            temperature=column([1.0 if cold else one.temperature for one, cold in zip(samplings, greedy, strict=True)]),
            top_k=torch.tensor(top_k, device=device)[:, None] - 1,
            below=column([1 - one.top_p for one in samplings]),
            candidates=min(vocabulary, max(top_k) + MARGIN),
        )


@dataclass(slots=True)
class Candidates:
    """The tokens a row may go on with, the likeliest first; `weights` is 0 for those that were filtered out."""

    tokens: torch.Tensor
    weights: torch.Tensor


def penalise(logits: torch.Tensor, factors: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Divide what is positive and multiply what is negative by the factors: the penalty where a token has been, 1 elsewhere."""
    if not settings.penalised:
        return logits
    if settings.shrinking:
        # For a factor of 1 or more the right one of the two is always the lower one; a comparison and a choice cost seven times as much.
        return torch.minimum(logits * factors, logits / factors)
    return torch.where(logits < 0, logits * factors, logits / factors)


def candidates(logits: torch.Tensor, settings: Settings) -> Candidates:
    """Temperature, top-k and top-p over penalised logits."""
    highest, tokens = torch.topk(logits, settings.candidates, dim=-1)
    scaled = highest / settings.temperature
    kept = scaled.masked_fill(scaled < scaled.gather(1, settings.top_k), float("-inf"))
    chances = torch.softmax(kept, -1)
    # Mass from the unlikeliest up to and with each token, summed in the library's direction.
    mass = chances.flip(-1).cumsum(-1).flip(-1)
    dropped = mass <= settings.below
    dropped[:, 0] = False
    return Candidates(tokens, chances.masked_fill_(dropped, 0.0))


def draw(choice: Candidates, chances: torch.Tensor) -> torch.Tensor:
    """The candidate at each row's chance, a number in [0, 1)."""
    mass = choice.weights.cumsum(-1)
    place = (mass <= chances[:, None] * mass[:, -1:]).sum(-1, keepdim=True)
    # Rounding can put the chance on the very end of the mass: the last candidate that has any.
    last = (choice.weights > 0).sum(-1, keepdim=True) - 1
    return choice.tokens.gather(1, torch.minimum(place, last)).squeeze(1)


class Sampler:
    """Remembers which tokens each slot's row has had; everything stays on the device."""

    def __init__(self, vocabulary: int, device: torch.device) -> None:
        self._vocabulary, self._device = vocabulary, device
        self._factors = torch.ones(0, vocabulary, device=device)
        self._offsets = torch.empty(0, dtype=torch.long)
        self._settings: Settings | None = None
        self._penalties = torch.empty(0)

    def resize(self, slots: int, rows: int) -> None:
        """Hold `slots` rows; of those before, the first `rows` are kept."""
        factors = torch.ones(slots, self._vocabulary, device=self._device)
        factors[:rows] = self._factors[:rows]
        self._factors = factors
        self._offsets = torch.arange(slots, device=self._device) * self._vocabulary

    def put(self, slot: int, tokens: Sequence[int], sampling: Sampling) -> None:
        """A row begins in this slot, with these tokens before it."""
        self._factors[slot] = 1.0
        if sampling.repetition_penalty != 1:
            self._factors[slot, torch.tensor(tokens, device=self._device)] = sampling.repetition_penalty

    def move(self, source: int, target: int) -> None:
        self._factors[target] = self._factors[source]

    def swap(self, one: int, other: int) -> None:
        self._factors[[one, other]] = self._factors[[other, one]]

    def use(self, samplings: Sequence[Sampling]) -> None:
        """The settings of the rows of the next `pick`, until they change."""
        self._settings = Settings.of(samplings, self._vocabulary, self._device)
        self._penalties = torch.tensor([one.repetition_penalty for one in samplings], device=self._device, dtype=torch.float32)

    def pick(self, logits: torch.Tensor, chances: Sequence[float], start: int = 0) -> torch.Tensor:
        """The next token of the rows in the slots from `start` on; `logits` is (rows, vocabulary)."""
        settings = self._settings
        assert settings is not None
        count = len(chances)
        logits = penalise(logits.float(), self._factors[start : start + count], settings)
        if settings.all_greedy:
            tokens = logits.argmax(-1)
        else:
            tokens = draw(candidates(logits, settings), torch.tensor(chances, dtype=torch.float32, device=self._device))
            if settings.greedy is not None:
                tokens = torch.where(settings.greedy, logits.argmax(-1), tokens)
        if settings.penalised:
            self._factors.view(-1).index_copy_(0, self._offsets[start : start + count] + tokens, self._penalties)
        return tokens
