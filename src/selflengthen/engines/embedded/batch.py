"""The rows that run together: who has which slot, prefill, and the decoding step. What does not live here: waiting, threads and commands (`loop`).

Slots are without gaps, so that a step reads storage as it lies. Where rows are read in groups, a row of an earlier group is never shorter than one
of a later group: all rows grow alike, so only coming and going moves any, at most one a group.
"""

from collections.abc import Sequence

import torch

from selflengthen.engines.embedded.cache import FIRST_CAPACITY, RowCache
from selflengthen.engines.embedded.loading import Loaded
from selflengthen.engines.embedded.lora import LoraBank
from selflengthen.engines.embedded.row import Row
from selflengthen.engines.embedded.sampler import Sampler

GROUP = 8
"""Rows read together on a CPU: measured best or even from 4 to 16, with one thread and with two."""
HEADROOM = 256
"""Tokens every row must be able to grow by before another row is let in: a row that has to leave again costs its prefill."""


class Batch:
    """Up to `max_rows` rows whose slots together hold up to `max_tokens` tokens."""

    def __init__(self, loaded: Loaded, *, max_rows: int, max_tokens: int, context_tokens: int) -> None:
        self.rows: list[Row] = []
        """By slot."""
        self.bank = LoraBank(loaded.model)
        self._model, self._ends = loaded.model, loaded.ends
        self._max_rows, self._max_tokens, self._context = max_rows, max_tokens, context_tokens
        self._group = GROUP if loaded.grouped_attention else 0
        self._device = loaded.device
        self._cache = RowCache(
            kinds=loaded.layers,
            heads=loaded.key_heads,
            window=loaded.window,
            device=loaded.device,
            dtype=loaded.dtype,
            grouped=self._group,
        )
        self._sampler = Sampler(loaded.vocabulary, loaded.device)
        self._latest: torch.Tensor | None = None
        """The newest token of each row on the device; None: rows have come or gone since."""
        self._resize(min(FIRST_CAPACITY, context_tokens))

    # Storage

    def fits(self, coming: Sequence[Row], row: Row) -> bool:
        """Whether `row` can join the running rows and those already `coming`."""
        count = len(self.rows) + len(coming) + 1
        longest = max(len(one.tokens) for one in (*self.rows, *coming, row))
        return count <= self._max_rows and (count == 1 or count * min(self._context, longest + HEADROOM) <= self._max_tokens)

    def _hold(self, count: int, length: int) -> bool:
        """Make storage for `count` rows of `length` tokens; False: that is beyond the bound."""
        if count * length > self._max_tokens:
            return False
        if length > self._cache.capacity:
            self._resize(max(length, min(2 * self._cache.capacity, self._context, self._max_tokens // count)))
        elif count > self._cache.slots:
            # Long rows of the past made slots wide and few.
            self._resize(max(length, self._max_tokens // self._max_rows))
        return True

    def _resize(self, capacity: int) -> None:
        slots = min(self._max_rows, self._max_tokens // capacity)
        filled = max((len(row.tokens) for row in self.rows), default=0)
        kept = min(slots, len(self.rows))
        self._cache.resize(slots, capacity, kept, min(filled, capacity, self._cache.capacity))
        self._sampler.resize(slots, kept)

    # Coming

    def admit(self, rows: Sequence[Row]) -> None:
        """Prefill rows and take the first token of each; those that go on stay."""
        start, lengths = len(self.rows), [len(row.tokens) for row in rows]
        longest = max([len(row.tokens) for row in self.rows] + lengths)
        held = self._hold(start + len(rows), longest)
        assert held, "rows are admitted only where they fit"
        for slot, row in enumerate(rows, start):
            self._sampler.put(slot, row.tokens, row.request.sampling)
        self.rows.extend(rows)
        self._latest = None
        self._sampler.use([row.request.sampling for row in rows])
        self.bank.select([row.request.adapter for row in rows])
        self._cache.begin_prefill(start, lengths)
        picked = self._sampler.pick(self._prefill(rows, lengths), [row.dice.random() for row in rows], start)
        self._accept(rows, picked.tolist())
        for row in rows:
            if not row.done:
                self._rise(self.rows.index(row))

    def _prefill(self, rows: Sequence[Row], lengths: Sequence[int]) -> torch.Tensor:
        """The logits after each prompt. Prompts are padded on the right: what comes later cannot be seen, so no mask is needed."""
        width = max(lengths)
        ids = torch.tensor([row.tokens + [0] * (width - len(row.tokens)) for row in rows], device=self._device)
        ends = sorted({length - 1 for length in lengths})
        output = self._model(
            input_ids=ids,
            past_key_values=self._cache.library,
            use_cache=True,
            logits_to_keep=torch.tensor(ends, device=self._device),
        )
        at = torch.tensor([ends.index(length - 1) for length in lengths], device=self._device)
        logits: torch.Tensor = output.logits[torch.arange(len(rows), device=self._device), at]
        return logits

    # Running

    def step(self) -> list[Row]:
        """One token for every row. Returns rows that had to leave for want of storage; they can be admitted again as they are."""
        evicted: list[Row] = []
        while not self._hold(len(self.rows), max(len(row.tokens) for row in self.rows)):
            row = min(self.rows, key=lambda one: len(one.tokens))
            evicted.append(row)
            self.remove(row)
        rows = self.rows
        positions = self._cache.begin_step([len(row.tokens) - 1 for row in rows], same_rows=self._latest is not None)
        if self._latest is None:
            self._latest = torch.tensor([row.tokens[-1:] for row in rows], device=self._device)
            self._sampler.use([row.request.sampling for row in rows])
            self.bank.select([row.request.adapter for row in rows])
        output = self._model(
            input_ids=self._latest,
            attention_mask=self._cache.masks(),
            position_ids=positions,
            past_key_values=self._cache.library,
            use_cache=True,
            logits_to_keep=1,
        )
        picked = self._sampler.pick(output.logits[:, -1], [row.dice.random() for row in rows])
        self._latest = picked[:, None]
        # The one wait for the device in a step.
        self._accept(list(rows), picked.tolist())
        return evicted

    def _accept(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            row.accept(token, self._ends)
        for row in rows:
            if row.done:
                self.remove(row)

    # Going, and order

    def remove(self, row: Row) -> None:
        """Give a row's slot to another: in groups, the longest of the next group moves up, and so on."""
        hole = self.rows.index(row)
        if self._group:
            while (begin := (hole // self._group + 1) * self._group) < len(self.rows):
                longest = max(range(begin, min(begin + self._group, len(self.rows))), key=lambda slot: len(self.rows[slot].tokens))
                self._move(longest, hole)
                hole = longest
        last = len(self.rows) - 1
        if hole != last:
            self._move(last, hole)
        self.rows.pop()
        self._latest = None

    def _move(self, source: int, target: int) -> None:
        self._cache.move(source, target, len(self.rows[source].tokens))
        self._sampler.move(source, target)
        self.rows[target] = self.rows[source]

    def _rise(self, slot: int) -> None:
        """Bring a row that is longer than one of an earlier group to where it belongs."""
        while self._group and (end := slot // self._group * self._group):
            shortest = min(range(end - self._group, end), key=lambda other: len(self.rows[other].tokens))
            length = len(self.rows[slot].tokens)
            if len(self.rows[shortest].tokens) >= length:
                return
            self._cache.swap(slot, shortest, length)
            self._sampler.swap(slot, shortest)
            self.rows[slot], self.rows[shortest] = self.rows[shortest], self.rows[slot]
            slot = shortest
