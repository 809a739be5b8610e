"""Each row's LoRA adapter, added to the untouched model by forward hooks; rows of several adapters and of none share a step.

The low-rank matrices of the adapters in use stand side by side, and a row's mask keeps only its own columns: two products for any mix, exact,
because the others' columns add zeros. PEFT's own mixed batches loop over the adapters in every layer. What does not live here: training (`trainers`).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

from selflengthen.errors import EngineError
from selflengthen.records import Adapter

PREFIX = "base_model.model."
"""How PEFT begins the names of weights."""
WEIGHTS = "adapter_model.safetensors"
_BEYOND = ("use_dora", "modules_to_save", "lora_bias", "target_parameters", "trainable_token_indices", "layer_replication", "alora_invocation_tokens")
"""Settings of adapters that hold more than two low-rank matrices."""


class Site:
    """One layer that adapters change."""

    def __init__(self) -> None:
        self.down: dict[str, torch.Tensor] = {}
        """By adapter: (input, rank)."""
        self.up: dict[str, torch.Tensor] = {}
        """By adapter: (rank, output), the scaling in it."""
        self.stacked: tuple[torch.Tensor, torch.Tensor] | None = None
        self.mask: torch.Tensor | None = None

    def ranks(self, names: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.down[name].shape[1] if name in self.down else 0 for name in names)

    def use(self, names: Sequence[str], mask: torch.Tensor | None) -> None:
        """The adapters of the coming forward, in this order."""
        mine = [name for name in names if name in self.down]
        if not mine:
            self.stacked = None
        elif len(mine) == 1:
            self.stacked = (self.down[mine[0]], self.up[mine[0]])
        else:
            self.stacked = (torch.cat([self.down[name] for name in mine], 1), torch.cat([self.up[name] for name in mine], 0))
        self.mask = mask

    def __call__(self, _module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor | None:
        """The forward hook."""
        if self.stacked is None:
            return None
        down, up = self.stacked
        low = inputs[0] @ down
        if self.mask is not None:
            low *= self.mask
        # In place: the output is the layer's own fresh tensor.
        output.view(-1, output.shape[-1]).addmm_(low.view(-1, low.shape[-1]), up)
        return output


class LoraBank:
    """The adapters that are loaded, over one model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._sites: dict[str, Site] = {}
        self._hooks: list[Any] = []
        self._names: list[str] = []
        self._used: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def add(self, adapter: Adapter) -> None:
        """Load an adapter's weights under its name, once."""
        if adapter.name in self._names:
            raise EngineError(f"adapter {adapter.name!r} is already loaded; a name is used once")
        config, weights = _read(adapter)
        placed = [(path, *self._fit(adapter, path, pair)) for path, pair in _pairs(adapter, weights).items()]
        for path, down, up in placed:
            if path not in self._sites:
                self._sites[path] = Site()
                self._hooks.append(self._model.get_submodule(path).register_forward_hook(self._sites[path]))
            self._sites[path].down[adapter.name] = down
            self._sites[path].up[adapter.name] = up * _scaling(config, path)
        self._names.append(adapter.name)

    def remove(self, name: str) -> None:
        """Drop an adapter's weights. No row in flight may use it."""
        self.select(())  # the sites let go of what they stacked for the last step
        self._names.remove(name)
        for site in self._sites.values():
            site.down.pop(name, None)
            site.up.pop(name, None)

    def _fit(self, adapter: Adapter, path: str, pair: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The two matrices as the products want them, if they fit the model's layer."""
        try:
            layer = self._model.get_submodule(path)
        except AttributeError:
            raise EngineError(f"adapter {adapter.name!r} was made for another model: this one has no {path}") from None
        if not isinstance(layer, torch.nn.Linear | Conv1D):
            raise EngineError(f"adapter {adapter.name!r} changes {path}, a {type(layer).__name__}; only linear layers can be changed here")
        rows, columns = layer.weight.shape
        into, out = (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)
        if pair["lora_A"].shape[1] != into or pair["lora_B"].shape[0] != out:
            raise EngineError(
                f"adapter {adapter.name!r} was made for another model: its {path} goes from {pair['lora_A'].shape[1]} to "
                f"{pair['lora_B'].shape[0]} numbers, this model's from {into} to {out}"
            )
        return tuple(matrix.to(layer.weight.device, layer.weight.dtype).T.contiguous() for matrix in (pair["lora_A"], pair["lora_B"]))  # type: ignore[return-value]

    def select(self, adapters: Sequence[str | None]) -> None:
        """Each row's adapter in the coming forwards."""
        names = tuple(dict.fromkeys(name for name in adapters if name is not None))
        if not names and not self._used:
            return
        self._used = names
        alone = len(set(adapters)) == 1
        masks: dict[tuple[int, ...], torch.Tensor] = {}
        for site in self._sites.values():
            ranks = site.ranks(names)
            if not alone and ranks not in masks:
                masks[ranks] = self._mask(adapters, names, ranks)
            site.use(names, None if alone else masks[ranks])

    def _mask(self, adapters: Sequence[str | None], names: Sequence[str], ranks: Sequence[int]) -> torch.Tensor:
        """(rows, 1, all ranks): 1 in a row's own columns."""
        columns = [name for name, rank in zip(names, ranks, strict=True) for _ in range(rank)]
        kept = [[[float(column == adapter) for column in columns]] for adapter in adapters]
        weight = next(self._model.parameters())
        return torch.tensor(kept, device=weight.device, dtype=weight.dtype)

    def close(self) -> None:
        """Leave the model as it was."""
        for hook in self._hooks:
            hook.remove()
        self._sites.clear()


def _read(adapter: Adapter) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    file = Path(adapter.path) / WEIGHTS
    if not file.is_file():
        raise EngineError(f"adapter {adapter.name!r} has no {file}")
    try:
        config = PeftConfig.from_pretrained(str(adapter.path))
        weights = load_file(file)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise EngineError(f"adapter {adapter.name!r} in {adapter.path} cannot be read: {error}") from error
    if not isinstance(config, LoraConfig):
        raise EngineError(f"adapter {adapter.name!r} is of type {config.peft_type}; only LoRA is served")
    beyond = [name for name in _BEYOND if getattr(config, name, None)]
    if config.bias != "none":
        beyond.append("bias")
    if beyond:
        raise EngineError(f"adapter {adapter.name!r} uses {', '.join(beyond)}, which the embedded engine does not serve")
    return config, weights


def _pairs(adapter: Adapter, weights: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """By layer: its `lora_A` and `lora_B`."""
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, weight in weights.items():
        path, _, part = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
        if part not in {"lora_A", "lora_B"}:
            raise EngineError(f"adapter {adapter.name!r} holds {key}, which is no low-rank matrix of a linear layer")
        pairs.setdefault(path, {})[part] = weight
    for path, pair in pairs.items():
        if len(pair) != 2:
            raise EngineError(f"adapter {adapter.name!r} lacks one of its two matrices for {path}")
    return pairs


def _scaling(config: LoraConfig, path: str) -> float:
    """As PEFT has it: alpha over rank, or over its root, both by layer where the adapter says so."""
    rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern.keys(), path), config.r)
    alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern.keys(), path), config.lora_alpha)
    return float(alpha / (math.sqrt(rank) if config.use_rslora else rank))
