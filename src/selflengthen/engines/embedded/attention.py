"""How the rows of a decoding step read the cache: an attention function registered with the library. Prefill stays the library's own.

On a CPU the library's kernel reads every row to the length of the longest one; with rows of unequal length most of that is waste, and reading
keys and values is most of a step. Here rows are read in small groups of similar length, as plain batched products (1.4 times as fast as the
kernel at one query per row). On a GPU one kernel over all rows is best, with the query heads of a key head taken as one group.
"""

import threading
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "selflengthen"
"""Under which name the library finds the function."""

_SPECIAL = ("softcap", "position_bias", "s_aux", "cache")
"""Arguments of models whose attention has more to it: those are left to the library."""


class Step(threading.local):
    """What the attention function must know of the running step. One per thread, because each engine runs in a thread of its own."""

    groups: tuple["Group", ...] = ()
    """The rows of a decoding step on a CPU, in groups; empty: all rows at once."""
    decoding: bool = False


class Group:
    """Neighbouring rows that are read to the same length."""

    __slots__ = ("start", "stop", "width")

    def __init__(self, start: int, stop: int, width: int) -> None:
        self.start, self.stop, self.width = start, stop, width


STEP = Step()


def attend(  # noqa: PLR0917 - the library's own signature
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as the library calls it: (rows, heads, tokens, width) in, (rows, tokens, heads, width) out."""
    if not STEP.decoding or scaling is None or attention_mask is None or any(rest.get(name) is not None for name in _SPECIAL):
        output: tuple[torch.Tensor, None] = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, scaling=scaling, **rest)
        return output
    rows, heads, _, width = query.shape
    shared = query.reshape(rows, key.shape[1], -1, width)
    if STEP.groups:
        mixed = _by_groups(shared * scaling, key, value, attention_mask)
    else:
        mixed = scaled_dot_product_attention(shared, key, value, attn_mask=attention_mask, scale=scaling)
    return mixed.reshape(rows, 1, heads, -1), None


def _by_groups(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`query` is scaled, (rows, key heads, queries per key head, width)."""
    rows, heads, queries, width = query.shape
    flat = query.view(rows * heads, queries, width)
    mixed = value.new_empty(rows * heads, queries, value.shape[-1])
    for group in STEP.groups:
        here, count = slice(group.start * heads, group.stop * heads), group.stop - group.start
        keys = key[group.start : group.stop, :, : group.width].flatten(0, 1)
        weights = torch.bmm(flat[here], keys.transpose(1, 2))
        weights.view(count, heads * queries, group.width).add_(mask[group.start : group.stop, 0, :, : group.width])
        weights = torch.softmax(weights, -1)
        torch.bmm(weights, value[group.start : group.stop, :, : group.width].flatten(0, 1), out=mixed[here])
    return mixed.view(rows, heads, queries, -1)


def register() -> None:
    """Make the function known to the library; prefill masks are made as for its own kernel."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
