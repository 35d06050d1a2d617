"""Which layers of a model a LoRA adapter was trained on, by PEFT's rule.

Facts (github.com/huggingface/peft 0.21, ``tuners/tuners_utils.py``, ``check_target_module_exists``): a list
of names or of their ends after a dot, or one expression that is the whole name; without ``exclude_modules``;
of a list only the layers in ``layers_to_transform``, where it is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wall_edge_export.checkpoint.lora.matching import matches

_LAYER = re.compile(r"\.(?:layers|blocks)\.(\d+)\.")
_WORDS = ("model.embed_tokens", "lm_head")


@dataclass(frozen=True)
class Targets:
    """The keys of ``adapter_config.json`` that say where the adapter is."""

    target_modules: tuple[str, ...] | str | None = None
    exclude_modules: tuple[str, ...] | str | None = None
    modules_to_save: tuple[str, ...] | None = None
    layers_to_transform: tuple[int, ...] | int | None = None

    def modules(
        self, adapter_names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
    ) -> set[str] | None:
        """The base's modules that must have a LoRA; None where the settings do not say.

        ``adapter_names``: the adapter's name of each module that it has; ``shapes``: of the base's tensors.
        Raises ValueError for an expression that cannot be matched.
        """
        if not self.target_modules or not adapter_names:
            return None
        names = self._names(adapter_names, shapes)
        modules = list(names)
        hit = _hits(self.target_modules, [names[module] for module in modules], modules)
        out = _hits(self.exclude_modules or (), [names[module] for module in modules], modules)
        saved = set(self.modules_to_save or ())
        return {
            module
            for module in hit - out
            if self._transformed(names[module]) and not saved.intersection(names[module].split("."))
        }

    def _names(
        self, adapter_names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, str]:
        """The wrapped model's name of every module that a LoRA can be in, as those at hand are named."""
        weights = {name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) > 1}
        modules = {name for name in weights if f"{name}.weight" in shapes}
        module, name = next(iter(adapter_names.items()))
        if name == f"model.{module}":  # LeRobot's policy
            return {one: f"model.{one}" for one in modules}
        if module == f"model.{name}":  # upstream wraps the decoder alone
            return {one: one.removeprefix("model.") for one in modules if one.startswith("model.")}
        return {one: one for one in modules}

    def _transformed(self, name: str) -> bool:
        if self.layers_to_transform in (None, ()) or isinstance(self.target_modules, str):
            return True
        layers = self.layers_to_transform
        match = _LAYER.search(f".{name}")
        return match is not None and int(match[1]) in (layers if isinstance(layers, tuple) else (layers,))


def _hits(targets: Sequence[str] | str, names: Sequence[str], modules: Sequence[str]) -> set[str]:
    if targets == "all-linear":
        return {module for module in modules if module not in _WORDS and "patch_embed" not in module}
    if isinstance(targets, str):
        (row,) = matches([rf"(?:{targets})\Z"], names)
        return {module for module, hit in zip(modules, row, strict=True) if hit}
    ends = set(targets)
    return {
        module
        for module, name in zip(modules, names, strict=True)
        if not ends.isdisjoint(name.split(".", count)[-1] for count in range(name.count(".") + 1))
    }
