"""What was probed as a target's file: ``wall-edge plan --target FILE.yaml`` needs no other format."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import yaml

from wall_edge.atomic import atomic_write
from wall_edge.errors import ConfigError
from wall_edge.files import is_plain_name, shown
from wall_edge.provenance import provenance
from wall_edge_engines.base import EngineSettings
from wall_edge_engines.build.targets.memory import total_bytes
from wall_edge_engines.build.targets.target import ELEMENT_TYPES, SUFFIX, Ceiling, Target, target_of
from wall_edge_engines.cuda.driver import Driver, device_ordinal
from wall_edge_engines.probe.measure import Probed, Rate

_LONGEST_TITLE = 128


def require_place(path: Path) -> None:
    """Raises :class:`ConfigError` for a path at which no target's file can be."""
    if path.suffix != SUFFIX or not is_plain_name(path.stem):
        raise ConfigError(f"--out {shown(path)}", expected=f"a file NAME{SUFFIX} of a plain name")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {shown(path)}: no such folder", expected="a folder that is there")


def probed_target(name: str, probed: Probed, settings: EngineSettings) -> Target:
    """The device of these settings with the ceilings that were measured; the data sheet's stay."""
    base = _processor(name) if settings.device == "cpu" else _gpu(settings.device)
    facts = provenance("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx")
    how = f"wall-edge probe, {probed.engine}, {facts['date']}"
    products = {kind: [r for r in probed.rates if r.what == "product" and r.kind == kind] for kind in _KEYS}
    return replace(
        base,
        name=name,
        bandwidth_gb_s=_measured(
            base.bandwidth_gb_s, [r for r in probed.rates if r.what != "product"], 1e9, how
        ),
        fp32_tflops=_measured(base.fp32_tflops, products["fp32"], 1e12, how),
        bf16_tflops=_measured(base.bf16_tflops, products["bf16"], 1e12, how),
        int8_tops=_measured(base.int8_tops, products["int8"], 1e12, how),
        notes=(f"Measured by {how}.", f"{facts['machine']}; {facts['versions']}.", *base.notes),
    )


_KEYS = ("fp32", "bf16", "int8")


def _measured(base: Ceiling, rates: list[Rate], unit: float, how: str) -> Ceiling:
    """Between the least median and the best sample; as it was where nothing was measured."""
    if not rates:
        return base
    least, most = min(rate.median for rate in rates), max(rate.most for rate in rates)
    return replace(base, measured=(_short(least / unit), _short(most / unit)), measured_source=how)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _gpu(device: str) -> Target:
    return target_of(Driver().facts(device_ordinal(device)))


def _processor(name: str) -> Target:
    nobody = Ceiling(None, "a processor: its data sheet was not asked", (), "not measured")
    return Target(
        name=name,
        title=shown(provenance()["machine"], _LONGEST_TITLE * 3 // 4),
        sm=None,
        multiprocessors=None,
        memory_gib=_short(total_bytes() / (1 << 30)),
        integrated=True,
        element_types=ELEMENT_TYPES[:5],
        recipes=("fp32",),
        bandwidth_gb_s=nobody,
        fp32_tflops=nobody,
        bf16_tflops=nobody,
        int8_tops=nobody,
    )


def write_target(path: Path, target: Target) -> None:
    """The target as its file; raises :class:`ConfigError` where none can be written."""
    data = {key: value for key, value in asdict(target).items() if key != "name"}
    text = yaml.safe_dump(_plain(data), sort_keys=False, allow_unicode=True, width=10_000)
    try:
        atomic_write(path, text)
    except OSError as problem:
        raise ConfigError(
            f"--out {shown(path)}: {problem.strerror}", expected="a file that can be written"
        ) from None


def _plain(value: object) -> object:
    """YAML's lists for tuples."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple | list) else value
