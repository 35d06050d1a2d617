"""Whether TensorRT takes a bundle's graphs: ``python benchmarks/tensorrt_parse.py BUNDLE…``.

Every graph is parsed by TensorRT-RTX's ONNX parser, installed into an environment of its own; parsing needs
no GPU. Nothing is built or run: what an Orin makes of a graph still has to be seen on an Orin. Exit
code 1 when a graph is refused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.environment import environment
from wall_edge.bundle import Bundle
from wall_edge.provenance import provenance

TENSORRT = "tensorrt-rtx==1.7.1.116"
_VENV = Path.home() / ".cache" / "wall-edge" / "peers" / TENSORRT.replace("==", "-")


def parsed(python: Path, bundle: Bundle) -> list[dict[str, Any]]:
    """One row a graph."""
    graphs = bundle.manifest.graphs
    files = [str(bundle.path(spec.file)) for spec in graphs.values()]
    script = Path(__file__).parent / "peers" / "tensorrt_rtx_parse.py"
    done = subprocess.run([python, script, *files], check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        {"recipe": bundle.manifest.recipe, "graph": name, "precision": spec.precision, **row}
        for (name, spec), row in zip(graphs.items(), rows, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--venv", type=Path, default=_VENV)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    python = environment(given.venv, TENSORRT, ((TENSORRT,),))
    rows = [row for folder in given.bundles for row in parsed(python, Bundle(folder))]
    about = {"tensorrt": TENSORRT, **provenance("onnx")}
    if given.json:
        print(json.dumps({"rows": rows, **about}))
    else:
        for row in rows:
            verdict = f"{row['layers']} layers" if row["parsed"] else f"REFUSED: {row['errors']}"
            print(f"{row['recipe']:13} {row['graph']:8} {row['precision']:20} {verdict}")
        for name, value in about.items():
            print(f"{name}: {value}")
    sys.exit(0 if all(row["parsed"] for row in rows) else 1)


if __name__ == "__main__":
    main()
