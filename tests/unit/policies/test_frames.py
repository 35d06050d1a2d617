"""Frames resized inside the graph: the same pixels as Pillow's, the same patches as the robot's own path."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxscript import optimizer
from PIL import Image
from torch import Tensor, nn
from wall_edge_export.model.frames import CameraFrontEnd, FrameFrontEnd, resize_matrix

from wall_edge.bundle import ImageGeometry
from wall_edge.policies.vision import cut, patches

Frame = npt.NDArray[np.uint8]

ARITHMETIC = {"Add", "Cast", "Clip", "Div", "Floor", "MatMul", "Mul", "Sub"}
LAYOUT = {"Concat", "Expand", "Reshape", "Slice", "Transpose", "Unsqueeze"}
SMALL = ImageGeometry(100, 75, resolution=64)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The products are small: on a busy machine, threads that wait for each other take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(width: int, height: int) -> Frame:
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def black_and_white(width: int, height: int) -> Frame:
    return (noise(width, height) >> 7) * np.uint8(255)


def checkerboard(width: int, height: int, side: int) -> Frame:
    rows, columns = np.mgrid[0:height, 0:width] // side
    return np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def scene(width: int, height: int) -> Frame:
    """Shading, a few hard edges and a little sensor noise."""
    rows, columns = np.mgrid[0:height, 0:width]
    shade = 127 + 90 * np.sin(5 * columns / width + np.arange(3)[:, None, None]) * np.cos(4 * rows / height)
    shade[:, height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = 250
    shade[:, : height // 5 + 1, width // 2 :] = 8
    image = shade.transpose(1, 2, 0) + noise(width, height) % 7
    return np.clip(image, 0, 255).astype(np.uint8)


FRAMES = {
    "noise": noise,
    "black and white": black_and_white,
    "black": lambda width, height: np.zeros((height, width, 3), dtype=np.uint8),
    "white": lambda width, height: np.full((height, width, 3), 255, dtype=np.uint8),
    "fine checkerboard": lambda width, height: checkerboard(width, height, 1),
    "coarse checkerboard": lambda width, height: checkerboard(width, height, 7),
    "scene": scene,
}


def pillow(frame: Frame, geometry: ImageGeometry) -> Frame:
    """Width first, then height: said twice, because Pillow 13 sometimes chooses the other order."""
    image = Image.fromarray(frame)
    for width, height in geometry.steps:
        image = image.resize((width, image.height), Image.Resampling.BICUBIC)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def pixels(frame: Frame, geometry: ImageGeometry) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        made: npt.NDArray[np.float32] = FrameFrontEnd(geometry).pixels(torch.from_numpy(frame)).numpy()
    return made[0].transpose(1, 2, 0)


@given(
    width=st.integers(1, 160),
    height=st.integers(1, 160),
    resolution=st.integers(20, 120),
    kind=st.sampled_from(sorted(FRAMES)),
)
@settings(max_examples=50, deadline=None)
def test_pixels_are_pillows(width: int, height: int, resolution: int, kind: str) -> None:
    longest = max(width, height)
    geometry = ImageGeometry(width, height, resolution=max(resolution, -(-longest // min(width, height))))
    frame = FRAMES[kind](width, height)
    np.testing.assert_array_equal(pixels(frame, geometry), pillow(frame, geometry))


@pytest.mark.parametrize("kind", sorted(FRAMES))
@pytest.mark.parametrize("size", [(480, 640), (256, 192), (101, 77)], ids=str)
def test_pixels_of_cameras_are_pillows(size: tuple[int, int], kind: str) -> None:
    geometry, frame = ImageGeometry(*size), FRAMES[kind](*size)
    np.testing.assert_array_equal(pixels(frame, geometry), pillow(frame, geometry))


@pytest.mark.parametrize("kind", ["white", "black and white"])
def test_the_largest_frame_with_exact_sums(kind: str) -> None:
    geometry, frame = ImageGeometry(1984, 496), FRAMES[kind](1984, 496)
    np.testing.assert_array_equal(pixels(frame, geometry), pillow(frame, geometry))


@pytest.mark.parametrize("kind", sorted(FRAMES))
def test_shrinking_beyond_exact_sums_stays_within_a_grey_level(kind: str) -> None:
    geometry, frame = ImageGeometry(4096, 64), FRAMES[kind](4096, 64)
    off = np.abs(pixels(frame, geometry) - pillow(frame, geometry))
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-3


@pytest.mark.parametrize("size", [(640, 480), (252, 196), (96, 72)], ids=str)
def test_patches_are_the_robots(size: tuple[int, int]) -> None:
    geometry, frame = ImageGeometry(*size), scene(*size)
    made = FrameFrontEnd(geometry)(torch.from_numpy(frame)).numpy()
    np.testing.assert_allclose(made, patches(frame, geometry), rtol=0, atol=1e-6)


def test_other_patch_shapes_are_cut_as_the_robot_cuts() -> None:
    geometry = ImageGeometry(90, 70, resolution=60, patch_size=5, merge_size=3, temporal_patch_size=1)
    frame = noise(90, 70)
    made = FrameFrontEnd(geometry)(torch.from_numpy(frame)).numpy()
    np.testing.assert_allclose(made, cut(pillow(frame, geometry), geometry), rtol=0, atol=1e-6)


@given(st.integers(1, 400), st.integers(1, 400))
def test_coefficients_are_pillows_fixed_point(size_in: int, size_out: int) -> None:
    matrix = resize_matrix(size_in, size_out)
    assert matrix.shape == (size_out, size_in)
    steps = matrix.astype(np.float64) * 2**22
    assert np.array_equal(steps, np.rint(steps))
    assert np.abs(matrix.sum(axis=1, dtype=np.float64) - 1).max() <= size_in * 2.0**-23


def test_an_axis_that_keeps_its_size_has_unit_coefficients() -> None:
    np.testing.assert_array_equal(resize_matrix(9, 9), np.eye(9, dtype=np.float32))


def test_cameras_of_one_geometry_are_resized_together_and_stay_in_order() -> None:
    geometries = [ImageGeometry(64, 48), ImageGeometry(60, 60), ImageGeometry(64, 48), ImageGeometry(64, 48)]
    frames = [torch.from_numpy(scene(g.width, g.height) // (n + 1)) for n, g in enumerate(geometries)]
    alone = [FrameFrontEnd(geometry)(frame) for geometry, frame in zip(geometries, frames, strict=True)]
    np.testing.assert_array_equal(CameraFrontEnd(geometries)(*frames).numpy(), torch.cat(alone).numpy())


def test_the_front_end_has_no_state() -> None:
    front_end = FrameFrontEnd(ImageGeometry(64, 48))
    assert not front_end.state_dict()
    assert not list(front_end.parameters())
    assert not list(front_end.buffers())


def test_a_model_in_half_precision_keeps_its_pixels() -> None:
    geometry, frame = ImageGeometry(64, 48), noise(64, 48)
    front_end = FrameFrontEnd(geometry).half()
    made = front_end.pixels(torch.from_numpy(frame)).numpy()[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(made, pillow(frame, geometry))


class _Model(nn.Module):
    """A front end before a layer whose weights are not there yet."""

    def __init__(self, geometry: ImageGeometry) -> None:
        super().__init__()
        self.front_end = FrameFrontEnd(geometry)
        self.layer = nn.Linear(3 * 2 * 14 * 14, 4, bias=False)

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        made = self.front_end(frame)
        return made, self.layer(made)


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    """Exported while the weights are on the meta device; at the end they are set to one."""
    with torch.device("meta"):
        module, frame = _Model(SMALL), torch.zeros(75, 100, 3, dtype=torch.uint8)
    assert module.layer.weight.is_meta
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module, (frame,), dynamo=True, optimize=False, opset_version=20, verbose=False
        )
    assert program is not None
    optimizer.optimize(program.model)
    weight = ir.tensor(np.ones((4, 1176), dtype=np.float32), name="layer.weight")
    program.model.graph.initializers["layer.weight"].const_value = weight
    return ir.to_proto(program.model)


@pytest.mark.parametrize("kind", sorted(FRAMES))
def test_the_exported_graph_gives_the_robots_patches(graph: onnx.ModelProto, kind: str) -> None:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    frame = FRAMES[kind](SMALL.width, SMALL.height)
    made, summed = session.run(None, {session.get_inputs()[0].name: frame})
    expected = cut(pillow(frame, SMALL), SMALL)
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(summed, np.repeat(expected.sum(1, keepdims=True), 4, 1), rtol=1e-4, atol=1e-2)


def test_the_exported_graph_has_plain_operators_and_casts_its_frame_first(graph: onnx.ModelProto) -> None:
    assert {node.op_type for node in graph.graph.node} <= ARITHMETIC | LAYOUT | {"Gemm"}
    frame = graph.graph.input[0]
    assert frame.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [node.op_type for node in graph.graph.node if frame.name in node.input] == ["Cast"]


def test_matrices_are_exact_in_tf32(graph: onnx.ModelProto) -> None:
    constants = [onnx.numpy_helper.to_array(t) for t in graph.graph.initializer if t.name != "layer.weight"]
    matrices = [constant for constant in constants if constant.ndim == 2]
    whole = 100 * 64 + 75 * 48 + 64 * 56 + 48 * 56
    assert sum(matrix.size for matrix in matrices) == 2 * whole  # a coarse and a fine part
    for matrix in matrices:  # half precision has TF32's 11 significant bits
        np.testing.assert_array_equal(matrix.astype(np.float16), matrix)
