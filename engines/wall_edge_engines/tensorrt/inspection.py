"""Whether attention is one kernel in an engine that was built: what TensorRT's inspector says of its layers.

A fused attention is a layer whose name begins with ``_gemm_mha`` or, for one token, ``_gemv_mha``: in
TensorRT-RTX 1.7's own list of layers, and in TensorRT 10.3 on an Orin (NVIDIA/TensorRT#4167). The JSON:
docs.nvidia.com, TensorRT, "Engine Inspector"; layers come for every profile that an engine has, and as bare
names where it was built without detailed verbosity. Never tried on a GPU: none was at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wall_edge.bundle import Bundle
from wall_edge.errors import EngineError
from wall_edge.files import parse_json
from wall_edge_engines.build.check.layers import Layer
from wall_edge_engines.build.check.onnx_file import read_graph
from wall_edge_engines.tensorrt.engine import TensorRtEngine

Verdict = Literal["yes", "partly", "no", "none", "unknown"]


@dataclass(frozen=True)
class AttentionFusion:
    """Of one graph's engine. ``attentions``: the graph's; each runs once in each of the ``profiles``."""

    attentions: int
    profiles: int
    kernels: int
    """Fused attentions among the layers of all profiles."""
    unknown: str = ""
    """Why the layers tell nothing; empty where they do."""

    @property
    def fused(self) -> Verdict:
        """``none``: the graph has no attention."""
        if self.attentions == 0:
            return "none"
        if self.unknown:
            return "unknown"
        if self.kernels == 0:
            return "no"
        return "yes" if self.kernels >= self.attentions * self.profiles else "partly"


def attention_fusion(engine: TensorRtEngine, bundle: Bundle) -> dict[str, AttentionFusion]:
    """Of every graph of ``bundle``, whose engines ``engine`` has loaded."""
    return {
        graph: _of_graph(engine, graph, bundle.folder / spec.file)
        for graph, spec in bundle.manifest.graphs.items()
    }


def _of_graph(engine: TensorRtEngine, graph: str, onnx: Path) -> AttentionFusion:
    attentions = sum(node.op_type == "Softmax" for node in read_graph(onnx.read_bytes()).nodes)
    plan = engine.plan(graph)
    try:
        layers = _layers(engine.module, plan.engine)
    except EngineError as reason:
        return AttentionFusion(attentions, len(plan.profiles), 0, str(reason))
    return AttentionFusion(attentions, len(plan.profiles), sum(layer.is_attention for layer in layers))


def _layers(trt: Any, engine: Any) -> list[Layer]:
    """Those of all profiles. Raises :class:`EngineError` where the inspector does not tell their kinds."""
    inspector = engine.create_engine_inspector()
    if inspector is None:
        raise EngineError("TensorRT gave no inspector")
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    content = parse_json(text, "the inspector's answer", EngineError)
    layers = content.get("Layers") if isinstance(content, dict) else None
    if not isinstance(layers, list) or not layers:
        raise EngineError("the inspector lists no layers")
    if not all(isinstance(layer, dict) for layer in layers):
        raise EngineError("the engine was built without detailed verbosity", fix="run wall-edge build again")
    return [Layer(str(layer.get("Name", "")), str(layer.get("LayerType", "")), ()) for layer in layers]
