"""What TensorRT makes of bundles' graphs, without a GPU: ``python benchmarks/tensorrt_build.py BUNDLE…``.

Every graph is held against what the parser of JetPack 6's TensorRT 10.3 documents to take, and built ahead of
time by TensorRT-RTX for SM86, the nearest to an Orin's SM87 that it builds for. From the list of layers: the
kernels of each profile, the fused attentions among them, and the most kernels from one to the next. Exit
code 1 when a graph is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from wall_edge_engines.build.check.layers import Fusion, fusion, kernels_until, profile_layers
from wall_edge_engines.build.check.lint import PROVES, lint
from wall_edge_engines.build.check.onnx_file import read_graph
from wall_edge_engines.build.compile import Job
from wall_edge_engines.build.graph_process import compile_apart
from wall_edge_engines.build.profiles import Profile, profiles_of

from wall_edge.bundle import Bundle, GraphSpec
from wall_edge.errors import WallEdgeError
from wall_edge.provenance import provenance

SM = 86
BUILT = (
    f"The build shows that TensorRT-RTX takes the graphs for SM{SM}, and what it fuses; not that TensorRT"
    " does so for SM87, how fast the engines are, or what they compute: that takes a Jetson."
)


@dataclass(frozen=True)
class Row:
    """A graph. ``reason``: why it was not built; ``front_end``: kernels before vision's first block."""

    graph: str
    precision: str
    problems: list[str]
    reason: str
    seconds: float
    bytes: int
    peak_bytes: int
    profiles: list[Fusion]
    front_end: int | None


def checked(folder: Path, graph: str, spec: GraphSpec, profiles: Sequence[Profile]) -> Row:
    """Lint and build one graph; the plan is thrown away."""
    with TemporaryDirectory() as plans:
        job = Job(
            compiler="tensorrt-rtx",
            onnx=str((folder / spec.file).resolve()),
            plan=str(Path(plans) / f"{graph}.plan"),
            inputs=spec.inputs,
            profiles=tuple(profiles),
            sm=SM,
            aux_streams=0,
            layers=True,
        )
        compiled, reason, peak = compile_apart(job, lambda _: None)
    layers = profile_layers(compiled.layers) if compiled is not None else []
    return Row(
        graph=graph,
        precision=spec.precision,
        problems=lint(folder, spec),
        reason=reason,
        seconds=round(compiled.seconds, 1) if compiled is not None else 0.0,
        bytes=compiled.bytes if compiled is not None else 0,
        peak_bytes=peak,
        profiles=[fusion(profile) for profile in layers],
        front_end=kernels_until(layers[0], _patch_embedding(folder, spec))
        if graph == "vision" and layers
        else None,
    )


def _patch_embedding(folder: Path, spec: GraphSpec) -> str:
    """The vision graph's first linear layer: what comes before resizes, by products without a bias."""
    nodes = read_graph((folder / spec.file).read_bytes()).nodes
    return next(node.name for node in nodes if node.op_type == "Gemm")


def bundle_rows(bundle: Bundle) -> list[Row]:
    """Every graph of a bundle, in its order."""
    profiles = profiles_of(bundle.manifest)
    return [
        checked(bundle.folder, graph, spec, profiles[graph]) for graph, spec in bundle.manifest.graphs.items()
    ]


def _print(recipe: str, row: Row) -> None:
    counts = " | ".join(
        f"{profile.kernels} kernels, {profile.attentions} attentions, {profile.block_kernels} a block"
        for profile in row.profiles
    )
    front_end = "" if row.front_end is None else f", {row.front_end} of front end"
    size = f"{row.seconds:.1f} s, {row.bytes / 1e6:.0f} MB, peak {row.peak_bytes / 1e6:.0f} MB"
    verdict = f"REFUSED: {row.reason}" if row.reason else f"{counts}{front_end}; {size}"
    print(f"{recipe:13} {row.graph:8} {row.precision:20} {verdict}")
    for problem in row.problems:
        print(f"    TensorRT 10.3: {problem}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    about: Mapping[str, str] = {"proves": f"{PROVES} {BUILT}", **provenance("tensorrt-rtx")}
    rows = []
    try:
        for bundle in [Bundle(folder) for folder in options.bundles]:
            for row in bundle_rows(bundle):
                rows.append({"recipe": bundle.manifest.recipe, **asdict(row)})
                if not options.json:
                    _print(bundle.manifest.recipe, row)
    except WallEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"rows": rows, **about}))
    else:
        for name, value in about.items():
            print(f"{name}: {value}")
    return 1 if any(row["problems"] or row["reason"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
