"""ONNX Runtime on the CPU: runs a bundle anywhere.

``onnxruntime`` and ``onnxruntime-gpu`` install the same files over each other, so exactly one of them may
be present.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from wall_edge.bundle import ElementType, GraphSpec
from wall_edge.errors import EngineError
from wall_edge.files import shown
from wall_edge_engines.base import Binding, DeviceTensor, Engine, EngineSettings, Lane
from wall_edge_engines.element_types import ONNX
from wall_edge_engines.host_tensor import HostTensor
from wall_edge_engines.processors import here
from wall_edge_engines.widen import widen, widened

_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")


def require_onnxruntime() -> ModuleType:
    """Import onnxruntime, or say plainly that neither or both of its distributions are installed."""
    present = [name for name in _DISTRIBUTIONS if installed(name)]
    if len(present) == 2:
        raise EngineError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other",
            expected="exactly one",
            fix="uninstall both, then pip install 'wall-edge[onnxruntime]' or 'wall-edge[onnxruntime-gpu]'",
        )
    if not present:
        raise EngineError(
            "onnxruntime is not installed",
            expected="onnxruntime or onnxruntime-gpu",
            fix="pip install 'wall-edge[onnxruntime]'",
        )
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


def installed(distribution: str) -> bool:
    """Whether a distribution of this name is installed."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


class OnnxRuntimeEngine(Engine):
    """The graph files of ``folder``, one CPU session each."""

    def __init__(
        self,
        folder: Path,
        graphs: Mapping[str, GraphSpec],
        settings: EngineSettings = EngineSettings(),  # noqa: B008 - frozen
    ) -> None:
        if settings.device != "cpu":
            raise EngineError(f"engine onnxruntime on {settings.device}", expected="device cpu")
        self._ort = require_onnxruntime()
        self.graphs = {name: widened(spec) for name, spec in graphs.items()}
        self._products = here()
        eight_bit = any(spec.quantized_activations for spec in graphs.values())
        self.description = (
            f"ONNX Runtime {self._ort.__version__} on the CPU, threads: {settings.threads}"
            + ", half types computed in float32" * (self.graphs != dict(graphs))
            + f", {self._products}" * eight_bit
        )
        self._sessions = {
            name: self._session(folder / spec.file, spec, settings.threads) for name, spec in graphs.items()
        }

    def _session(self, path: Path, spec: GraphSpec, threads: int) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning worker would steal the core on which the servo loop sleeps.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.x64quantprecision", str(int(self._products.saturates)))
        # Weights that are only stored in fewer bits are unpacked once, at load, and multiplied in float32.
        if not spec.quantized_activations:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        options.log_severity_level = 3
        # The CPU has no products in half precision; weights are found beside the file that was read.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path.parent)
        )
        return open_session(
            self._ort, path, lambda: widen(path.read_bytes()), options, ["CPUExecutionProvider"]
        )

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> HostTensor:
        return HostTensor.zeros(shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, DeviceTensor], _lane: Lane) -> Binding:
        spec, session = self.graphs[graph], self._sessions[graph]
        io = session.io_binding()
        arrays = []
        for names, attach in ((spec.inputs, io.bind_input), (spec.outputs, io.bind_output)):
            for name in names:
                tensor = tensors[name]
                if not isinstance(tensor, HostTensor) or not tensor.array.flags.c_contiguous:
                    raise EngineError(f"graph {graph}: tensor {name}", expected="a tensor of this engine")
                arrays.append(tensor.array)
                attach(
                    name=name,
                    device_type="cpu",
                    device_id=0,
                    element_type=ONNX[tensor.dtype],
                    shape=list(tensor.shape),
                    buffer_ptr=tensor.array.ctypes.data,
                )
        return _OnnxRuntimeBinding(session, io, arrays)


class _OnnxRuntimeBinding:
    def __init__(self, session: Any, io: Any, arrays: list[Any]) -> None:
        self._session, self._io = session, io
        self._arrays = arrays  # ONNX Runtime keeps bare pointers: the arrays must outlive the binding

    def run(self) -> None:
        run_session(self._session, self._io)


def open_session(
    ort: Any, path: Path, model: Callable[[], str | bytes], options: Any, providers: Sequence[Any]
) -> Any:
    """A session on ``model``, the graph file ``path`` or what was made of it; never on other providers."""
    try:
        return ort.InferenceSession(model(), options, providers=providers, enable_fallback=False)
    except Exception as error:  # onnxruntime's own errors share no base class
        raise EngineError(
            f"{shown(path)}: {shown(error, 400)}",
            expected="a graph that ONNX Runtime accepts",
            fix="export the bundle again",
        ) from error


def run_session(session: Any, io: Any, options: Any = None) -> None:
    """Run what is bound to ``io``."""
    try:
        session.run_with_iobinding(io, options)
    except Exception as error:  # onnxruntime's own errors share no base class
        what = f"onnxruntime: {shown(error, 400)}"
        raise EngineError(what, expected="tensors that the graph accepts") from error
