"""Only the inventory says what a weight is: no other module goes by pieces of a tensor's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOMS = ("export/wall_edge_export", "examples", "benchmarks")
LAYER = re.compile(
    r"experts|_proj|visual\.|embed_tokens|lm_head|layernorm|_attn|attn\.|\.mlp|merger"
    r"|action_preprocessor(?!\.normalizer)"
)
TESTS = {"startswith", "endswith", "removeprefix", "removesuffix", "search", "match", "fullmatch", "find"}
MAY = {
    "export/wall_edge_export/model/inventory.py",
    "export/wall_edge_export/checkpoint/names.py",  # other people's spellings of the names
    "export/wall_edge_export/checkpoint/views.py",  # layers that are stored as one tensor
    "export/wall_edge_export/checkpoint/lora/targets.py",  # what an adapter's file says of names
    "export/wall_edge_export/checkpoint/tensor_types.py",  # quantisers' marks
}


def pieces(code: str) -> Iterator[str]:
    """What strings are tested for that a tensor's name could be: ``"…" in name``, ``name.endswith("…")``."""
    for node in ast.walk(ast.parse(code)):
        looked: list[ast.expr] = []
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
            looked = [node.left]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TESTS:
            looked = node.args
        for part in (part for one in looked for part in ast.walk(one)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and LAYER.search(part.value):
                yield part.value


def test_the_search_sees_what_it_is_for() -> None:
    code = """
graph = "vision" if name.startswith("visual.") else "prefix"
adds = name.endswith(("o_proj.weight", "attn.proj.weight")) or ".experts.1." in name
norm = "input_layernorm" not in name and re.search(r"\\.mlp\\.", name)
"""
    assert sorted(pieces(code)) == sorted(
        ["visual.", "o_proj.weight", "attn.proj.weight", ".experts.1.", "input_layernorm", r"\.mlp\."]
    )


def test_the_search_leaves_whole_names_alone() -> None:
    assert not list(pieces('head = tensors["lm_head.weight"]\nsame = name == "model.embed_tokens.weight"'))


def test_no_module_goes_by_pieces_of_names() -> None:
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert {str(path.relative_to(ROOT)) for path in paths} >= MAY
    odd = [
        f"{name}: {piece!r}"
        for path in paths
        if (name := str(path.relative_to(ROOT))) not in MAY
        for piece in pieces(path.read_text())
    ]
    assert not odd, "ask model/inventory.py instead:\n" + "\n".join(odd)
