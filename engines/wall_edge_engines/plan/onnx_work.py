"""A bundle's graphs → its workload, from the ONNX files alone.

``wall_edge_export.plan.model_work`` counts the same before anything is exported; tests hold the two against
one another. Weights are what lies in a graph's data file; tables of the model's own (coefficients of the
resize, rotary angles) lie in the graph's file and are not counted: 4 MB of wall-oss-flow with three cameras
of 640x480, whose vision weights are 1.3 GB in bf16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod

from wall_edge.bundle import Bundle, GraphSpec
from wall_edge.bundle.graphs.wire import Damaged
from wall_edge.errors import BundleError
from wall_edge.files import ARRAY_BYTES, read_bytes, shown
from wall_edge_engines.build.check.onnx_file import Constant, Node, read_graph
from wall_edge_engines.plan.shapes import Shapes, broadcast
from wall_edge_engines.plan.uses import ARITHMETIC, GraphCount, Sizes, count_uses
from wall_edge_engines.plan.workload import Arithmetic, Workload

_PROMPT = "action_prompt_ids"
_WITHOUT_RULE = frozenset(
    (
        *("Conv", "ConvTranspose", "ConvInteger", "DeformConv", "Einsum", "MatMulInteger", "QLinearMatMul"),
        *("QLinearConv", "Attention", "RNN", "GRU", "LSTM", "DFT"),
    )
)
"""Operators that multiply matrices and that no exported graph has."""


def bundle_workload(bundle: Bundle, prompt_tokens: int | None = None) -> Workload:
    """Bytes and operations of every use of the bundle's graphs.

    ``prompt_tokens``: of the prompt that asks for an action, the images' and the words'; by default as many
    as the prompt of its goldens has. Raises :class:`BundleError` for a graph whose products cannot be
    counted, :class:`ConfigError` for a prompt that the images alone fill.
    """
    manifest = bundle.manifest
    work = {name: _graph_work(bundle, spec) for name, spec in manifest.graphs.items()}
    return count_uses(
        manifest.recipe,
        manifest.graphs,
        len(manifest.cameras),
        prompt_tokens if prompt_tokens is not None else _usual_tokens(bundle),
        {name: graph.stored_bytes for name, graph in work.items()},
        lambda graph, sizes: work[graph].count(sizes),
    )


def _usual_tokens(bundle: Bundle) -> int:
    prompt = bundle.goldens.get(_PROMPT)
    if prompt is None or prompt.ndim != 1:
        raise BundleError(
            f"{shown(bundle.folder)}: no golden prompt", expected=_PROMPT, fix="export the bundle again"
        )
    return len(prompt)


def _graph_work(bundle: Bundle, spec: GraphSpec) -> GraphWork:
    path = bundle.path(spec.file)
    content = read_bytes(path, BundleError, ARRAY_BYTES)
    bundle.require_unchanged(spec.file)
    return GraphWork(content, spec, shown(path))


class GraphWork:
    """One graph file. Raises :class:`BundleError` where it is damaged or tells too little.

    ``where`` begins the message.
    """

    def __init__(self, content: bytes, spec: GraphSpec, where: str) -> None:
        self._spec, self._where = spec, where
        try:
            self._graph = read_graph(content)
        except Damaged as problem:
            raise self._damaged(problem) from None
        self._weights = {
            name: constant for name, constant in self._graph.constants.items() if constant.place is not None
        }

    @property
    def stored_bytes(self) -> int:
        """Of all weights."""
        return sum(_stored(weight) for weight in self._weights.values())

    def count(self, sizes: Sizes) -> GraphCount:
        """Of one run at these sizes of the axes that the spec names."""
        try:
            shapes = Shapes(self._graph, self._spec, sizes)
            return GraphCount(self._read_bytes(shapes), _operations(self._graph.nodes, shapes))
        except Damaged as problem:
            raise self._damaged(problem) from None

    def _damaged(self, problem: Damaged) -> BundleError:
        return BundleError(
            f"{self._where}: {shown(problem, 200)}",
            expected="a graph that was exported",
            fix="export the bundle again with 'wall-edge export'",
        )

    def _read_bytes(self, shapes: Shapes) -> int:
        """Weights that some operator reads; of a table that rows are picked from, those."""
        picked: dict[str, int] = {}
        whole: set[str] = set()
        for node in self._graph.nodes:
            for position, name in enumerate(node.inputs):
                if name not in self._weights:
                    continue
                if node.op_type == "Gather" and position == 0 and not node.attributes.get("axis", 0):
                    picked[name] = picked.get(name, 0) + _elements(shapes, node.inputs[1:2])
                else:
                    whole.add(name)
        total = sum(_stored(self._weights[name]) for name in whole)
        for name in picked.keys() - whole:
            rows = (*self._weights[name].shape, 0)[0]
            total += _stored(self._weights[name]) // rows * min(picked[name], rows) if rows else 0
        return total


def _stored(weight: Constant) -> int:
    return 0 if weight.place is None else weight.place[1]


def _elements(shapes: Shapes, names: tuple[str, ...]) -> int:
    return sum(prod(shapes.shape(name)) for name in names)


def _operations(nodes: tuple[Node, ...], shapes: Shapes) -> Mapping[Arithmetic, int]:
    totals: Counter[Arithmetic] = Counter()
    for node in nodes:
        if node.op_type in _WITHOUT_RULE:
            raise Damaged(f"{node.op_type} {node.name}: a product that nobody counts")
        if node.op_type in ("Gemm", "MatMul"):
            totals[_arithmetic(node, shapes)] += _multiply_adds(node, shapes) * 2
    return dict(totals)


def _multiply_adds(node: Node, shapes: Shapes) -> int:
    """Rows, columns and depth of ``[…, m, k] @ […, k, n]``; what the file says of the result must agree."""
    left, right = (shapes.shape(name) for name in _factors(node))
    if node.op_type == "Gemm":
        left, right = (
            shape[::-1] if node.attributes.get(key) else shape
            for shape, key in ((left, "transA"), (right, "transB"))
        )
    single_row, single_column = len(left) == 1, len(right) == 1
    left, right = (1, *left) if single_row else left, (*right, 1) if single_column else right
    if min(len(left), len(right)) < 2 or left[-1] != right[-2]:
        raise Damaged(f"{node.op_type} {node.name}: a product of {list(left)} and {list(right)}")
    result = (*broadcast(left[:-2], right[:-2]), left[-2], right[-1])
    if prod(shapes.shape(node.outputs[0]) if shapes.described(node.outputs[0]) else result) != prod(result):
        raise Damaged(f"{node.op_type} {node.name}: a result of another shape than {list(result)}")
    return prod(result) * left[-1]


def _factors(node: Node) -> tuple[str, str]:
    if len(node.inputs) < 2 or not node.outputs:
        raise Damaged(f"{node.op_type} {node.name}: a product of {len(node.inputs)} inputs")
    return node.inputs[0], node.inputs[1]


def _arithmetic(node: Node, shapes: Shapes) -> Arithmetic:
    """What a product is computed in: 8 bits where both factors come from 8 bits, else its factors' type."""
    factors = _factors(node)
    if all(shapes.stored_in(name) == "int8" for name in factors):
        return "int8"
    types = {shapes.dtype(name) for name in factors}
    names = {str(dtype): arithmetic for dtype, arithmetic in ARITHMETIC.items()}
    if len(types) != 1 or not types <= names.keys() - {"int8"}:
        raise Damaged(f"{node.op_type} {node.name}: a product of {' and '.join(sorted(types))}")
    return names[types.pop()]
