"""Which engine a robot verifies a bundle with, and its plans where it is TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wall_edge_engines import ENGINES, EngineSettings
from wall_edge_engines.build.preparation import prepare
from wall_edge_engines.build.targets.memory import available_bytes, gigabytes, require_fits
from wall_edge_engines.build.targets.selection import Selection, select
from wall_edge_engines.build.targets.sizes import PolicySizes

from wall_edge.bundle import Bundle
from wall_edge.checks import require_device
from wall_edge.errors import ConfigError, EngineError

AUTO = "auto"
ENGINE_NAMES = (AUTO, *ENGINES)
Told = Callable[[str], None]


@dataclass(frozen=True)
class EngineChoice:
    """``--engine`` and ``--device`` as they were said; none: where the engine runs by itself."""

    engine: str = AUTO
    device: str | None = None
    threads: int = 2

    def __post_init__(self) -> None:
        if self.engine not in ENGINE_NAMES:
            raise ConfigError(f"--engine {self.engine!r}", expected=" or ".join(ENGINE_NAMES))
        if self.device is not None:
            require_device("--device", self.device)


class RobotEngine:
    """The choice, settled on this machine. ``auto`` is TensorRT where it and a GPU are, else ONNX Runtime.

    Raises :class:`EngineError` for one that was asked for by name and cannot be.
    """

    def __init__(self, choice: EngineChoice) -> None:
        self._selection: Selection | None = None
        self.notes: list[str] = []
        self.built: dict[str, float] = {}
        engine = choice.engine
        if engine == AUTO:
            engine = self._best(choice.device)
        elif engine != "onnxruntime":
            self._selection = select(None, engine)
        device = choice.device or ("cpu" if engine == "onnxruntime" else "cuda")
        self.settings = EngineSettings(engine, device, choice.threads)

    def _best(self, device: str | None) -> str:
        if device == "cpu":
            return "onnxruntime"
        try:
            self._selection = select(None, None)
        except EngineError as problem:  # said, for on a robot with a GPU it is not what one wants
            self.notes.append(
                f"ONNX Runtime, as TensorRT does not run here: {str(problem).partition('; ')[0]}"
            )
            return "onnxruntime"
        return self._selection.compiler

    def disk_bytes(self, weights: int) -> int:
        """What building takes beside a bundle of ``weights`` bytes: plans are as large as the weights."""
        return round(1.1 * weights) if self._selection is not None else 0

    def build(self, bundle: Bundle, told: Told) -> None:
        """The bundle's plans, where they are needed and missing. Raises :class:`EngineError`."""
        if self._selection is None:
            _require_memory(bundle)
            return
        builder, notes = prepare(bundle, self._selection)
        self.notes += notes
        results = builder.build(told)
        for graph, result in results.items():
            if not result.ok:
                raise EngineError(f"graph {graph}: {result.reason}")
        self.built = {graph: round(result.seconds, 1) for graph, result in results.items() if not result.kept}
        engines = sum(result.bytes for result in results.values())
        require_fits(bundle, self._selection.target, self._selection.memory_bytes, engines)


def _require_memory(bundle: Bundle) -> None:
    """A floor: the weights, once. A daemon that runs beside has taken its part already."""
    weights = sum(PolicySizes.of_bundle(bundle).weights.values())
    available = available_bytes()
    if weights > available:
        raise EngineError(
            f"the bundle's weights are {gigabytes(weights)}, {gigabytes(available)} of memory are free",
            fix="end other programs, the robot's daemon too if it runs, or export a smaller recipe",
        )
