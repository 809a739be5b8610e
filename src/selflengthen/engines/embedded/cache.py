"""The keys and values of the rows that run, in place: one slot a row, written where the row stands. What does not live here: who has which slot.

The library's growing cache copies everything at each step (58 to 84 % of a step on a CPU). Here a step writes one token a row, and the masks say
how far each row is filled. Storage grows with the longest row, up to a bound in tokens, by copying once for every doubling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from selflengthen.engines.embedded.attention import STEP, Group

FIRST_CAPACITY = 256
"""Tokens a slot holds at first."""
ROUNDING = 64
"""A step reads keys to a multiple of this: kernels on a GPU want aligned masks."""


@dataclass(slots=True)
class Place:
    """Where the running step writes: prefill into `start .. start + count`, or one token into each of the first `count` slots."""

    prefill: bool = False
    start: int = 0
    count: int = 0
    width: int = 0
    """Tokens of a prefill; how far a decoding step reads."""
    flat: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    """Per row and head, where a decoding step writes, counted in tokens from the beginning of the layer's storage."""


class RowLayer(CacheLayerMixin):  # type: ignore[misc] # the library is untyped
    """One layer's storage, (slots, heads, capacity, width)."""

    is_sliding = False

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.slots, self.capacity = 0, 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys = self._storage(key_states)
        self.values = self._storage(value_states)
        self.is_initialized = True

    def _storage(self, like: torch.Tensor) -> torch.Tensor:
        # Zeros, not what memory happened to hold: a masked place still takes part in a product, and 0 * nan is nan.
        return like.new_zeros(self.slots, like.shape[1], self.capacity, like.shape[3])

    def resize(self, slots: int, capacity: int, rows: int, filled: int) -> None:
        """New storage; of the old, the first `rows` slots and `filled` tokens are kept."""
        self.slots, self.capacity = slots, capacity
        if self.is_initialized:
            for name in ("keys", "values"):
                old = getattr(self, name)
                new = self._storage(old)
                new[:rows, :, :filled].copy_(old[:rows, :, :filled])
                setattr(self, name, new)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        place = self.place
        if place.prefill:
            self.keys[place.start : place.start + place.count, :, : place.width].copy_(key_states)
            self.values[place.start : place.start + place.count, :, : place.width].copy_(value_states)
            return key_states, value_states
        for storage, states in ((self.keys, key_states), (self.values, value_states)):
            storage.view(-1, storage.shape[3]).index_copy_(0, place.flat, states.reshape(-1, storage.shape[3]))
        return self.keys[: place.count, :, : place.width], self.values[: place.count, :, : place.width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return (query_length if self.place.prefill else self.place.width), 0

    def get_seq_length(self) -> int:
        return 0 if self.place.prefill else self.place.width - 1

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length


class RowCache:
    """All layers' storage, and the masks of a decoding step."""

    def __init__(self, *, kinds: Sequence[str], heads: int, window: int | None, device: torch.device, dtype: torch.dtype, grouped: int) -> None:
        """`kinds`: each layer's attention, full or sliding; `grouped`: rows that are read together on a CPU, 0 for all."""
        self.place = Place()
        self.library = Cache(layers=[RowLayer(self.place) for _ in kinds])
        self._kinds, self._heads, self._window = sorted(set(kinds)), heads, window
        self._device, self._dtype, self._grouped = device, dtype, grouped
        self.slots, self.capacity = 0, 0
        self._masks: dict[str, torch.Tensor] = {}
        self._lengths: torch.Tensor | None = None
        self._bases = self._mask_bases = torch.empty(0, dtype=torch.long)

    def resize(self, slots: int, capacity: int, rows: int, filled: int) -> None:
        """Hold `slots` rows of up to `capacity` tokens."""
        for layer in self.library.layers:
            layer.resize(slots, capacity, rows, filled)
        for kind in self._kinds:
            old = self._masks.get(kind)
            new = torch.full((slots, capacity), float("-inf"), dtype=self._dtype, device=self._device)
            if old is not None:
                new[:rows, :filled] = old[:rows, :filled]
            self._masks[kind] = new
        self.slots, self.capacity = slots, capacity
        self._bases = torch.arange(slots * self._heads, device=self._device).view(slots, self._heads) * capacity
        self._mask_bases = torch.arange(slots, device=self._device) * capacity
        self._lengths = None

    def begin_prefill(self, start: int, lengths: Sequence[int]) -> None:
        """The next forward writes prompts of these lengths, padded on the right, into the slots from `start` on."""
        place = self.place
        place.prefill, place.start, place.count, place.width = True, start, len(lengths), max(lengths)
        STEP.decoding = False
        for kind, mask in self._masks.items():
            mask[start : start + len(lengths)] = float("-inf")
            for slot, length in enumerate(lengths, start):
                first = 0 if kind == "full_attention" or self._window is None else max(0, length - self._window)
                mask[slot, first:length] = 0

    def begin_step(self, lengths: Sequence[int], *, same_rows: bool) -> torch.Tensor:
        """The next forward adds one token to each row; `lengths` are before it. Returns the positions, (rows, 1).

        `same_rows`: the rows are those of the step before, so what is on the device only needs counting on.
        """
        count, place = len(lengths), self.place
        if same_rows and self._lengths is not None:
            self._lengths += 1
            place.flat += 1
        else:
            self._lengths = torch.tensor(lengths, device=self._device)
            place.flat = (self._bases[:count] + self._lengths[:, None]).view(-1)
        at = self._mask_bases[:count] + self._lengths
        for kind, mask in self._masks.items():
            mask.view(-1).index_fill_(0, at, 0.0)
            if kind != "full_attention" and self._window is not None:
                gone = [slot * self.capacity + length - self._window for slot, length in enumerate(lengths) if length >= self._window]
                if gone:
                    mask.view(-1).index_fill_(0, torch.tensor(gone, device=self._device), float("-inf"))
        longest = max(lengths) + 1
        place.prefill, place.count = False, count
        place.width = longest if self._grouped else min(self.capacity, -(-longest // ROUNDING) * ROUNDING)
        STEP.decoding = True
        STEP.groups = self._groups(lengths)
        return self._lengths[:, None]

    def _groups(self, lengths: Sequence[int]) -> tuple[Group, ...]:
        if not self._grouped:
            return ()
        starts = range(0, len(lengths), self._grouped)
        spans = ((start, min(start + self._grouped, len(lengths))) for start in starts)
        return tuple(Group(start, stop, max(lengths[start:stop]) + 1) for start, stop in spans)

    def masks(self) -> Any:
        """The running decoding step's mask as the model takes it: one tensor, or one for each kind of layer."""
        place = self.place
        masks = {kind: mask[: place.count, None, None, : place.width] for kind, mask in self._masks.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row to another slot."""
        for storage in self._storages():
            storage[target, :, :length] = storage[source, :, :length]
        for mask in self._masks.values():
            mask[target] = mask[source]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange two rows of up to `length` tokens."""
        for storage in self._storages():
            storage[[one, other], :, :length] = storage[[other, one], :, :length]
        for mask in self._masks.values():
            mask[[one, other]] = mask[[other, one]]

    def _storages(self) -> list[torch.Tensor]:
        return [storage for layer in self.library.layers if layer.is_initialized for storage in (layer.keys, layer.values)]
