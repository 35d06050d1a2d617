"""Element types on the host: rounding to bfloat16, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_engines.element_types import ONNX, STORAGE, from_storage, to_storage
from wall_edge_engines.host_tensor import HostTensor

from wall_edge.errors import EngineError


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_bfloat16_rounds_as_torch_does(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    ours = from_storage(to_storage(array, "bfloat16"), "bfloat16")
    torchs = torch.from_numpy(array).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(ours, torchs)


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (1.00390625, 0x3F80),  # halfway to the next one: to even, down
        (1.01171875, 0x3F82),  # halfway: to even, up
        (float("inf"), 0x7F80),
        (3.4e38, 0x7F80),
        (-0.0, 0x8000),
        (float("nan"), 0x7FC0),
        (np.uint32(0x7FFFFFFF).view(np.float32), 0x7FC0),  # a NaN whose rounding would carry over
    ],
)
def test_bfloat16_at_its_edges(value: float, bits: int) -> None:
    assert int(to_storage(np.float32(value), "bfloat16")) == bits


def test_every_type_has_a_storage_and_a_number() -> None:
    assert set(STORAGE) == set(ONNX)
    assert len(set(ONNX.values())) == len(ONNX)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_half_tensor_reads_as_float32(dtype: str) -> None:
    tensor = HostTensor.zeros((4, 2), dtype)  # type: ignore[arg-type]
    tensor.rows(1, 3).write([[1.5, -2.0], [0.25, 3.0]])
    other = HostTensor.zeros((4, 2), dtype)  # type: ignore[arg-type]
    other.copy(tensor)
    assert other.read().dtype == np.float32
    assert other.read().tolist() == [[0, 0], [1.5, -2.0], [0.25, 3.0], [0, 0]]
    assert other.view((3,)).read().tolist() == [0, 0, 1.5]
    assert other.array.nbytes == 16


def test_floats_for_integers_and_tensors_of_another_type_are_refused() -> None:
    with pytest.raises(EngineError, match="float64 values for int64"):
        HostTensor.zeros((1,), "int64").write([0.5])
    with pytest.raises(EngineError, match=r"\[1\] float16; expected .*\[1\] bfloat16"):
        HostTensor.zeros((1,), "bfloat16").copy(HostTensor.zeros((1,), "float16"))
