"""Parse ONNX files with TensorRT-RTX, one JSON object a file. Runs in that peer's own environment."""

from __future__ import annotations

import json
import sys

import tensorrt_rtx as trt


def main() -> None:
    for path in sys.argv[1:]:
        logger = trt.Logger(trt.Logger.ERROR)
        network = trt.Builder(logger).create_network(0)
        parser = trt.OnnxParser(network, logger)
        good = parser.parse_from_file(path)
        errors = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        row = {"path": path, "parsed": bool(good), "layers": network.num_layers, "errors": errors[:3]}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
