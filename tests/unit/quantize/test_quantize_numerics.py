"""Quantisation of one linear layer: bounds that always hold, and awkward matrices."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from wall_edge_export.quantize.int4 import Bits, dequantize_blocks, gptq_blocks, pack_int4, quantize_blocks
from wall_edge_export.quantize.int8 import activation_scale, fake_quantize, linear_error, quantize_per_channel
from wall_edge_export.quantize.scales import scale_above, scale_near
from wall_edge_export.quantize.smooth import best_smoothing, smoothing
from wall_edge_export.quantize.statistics import LinearStatistics

from wall_edge.errors import CheckpointError, ConfigError

Floats = npt.NDArray[np.float32]
LIMITS: dict[Bits, tuple[int, int]] = {4: (-8, 7), 8: (-127, 127)}
BITS = st.sampled_from((4, 8))
BLOCKS = st.sampled_from((1, 5, 16, 32, 64, 128, None))

# Every float32 up to 2^100: zeros, values whose scale would be denormal, magnitudes far apart in one row.
anything = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)
seeds = st.integers(0, 2**32 - 1)


def collected(x: Floats, name: str = "layer", **options: bool | int) -> LinearStatistics:
    statistics = LinearStatistics(name, x.shape[1], **options)  # type: ignore[arg-type]
    statistics.update(x)
    return statistics


def activations(rng: np.random.Generator, tokens: int, channels: int, outlier: float = 1.0) -> Floats:
    """Correlated inputs; every 16th channel is an outlier."""
    mixing = np.random.default_rng(1).standard_normal((max(1, channels // 4), channels))
    x = rng.standard_normal((tokens, len(mixing))) @ mixing / len(mixing) ** 0.5
    x += 0.5 * rng.standard_normal(x.shape)
    x[:, ::16] *= outlier
    return x.astype(np.float32)


def assert_bfloat16(scale: npt.ArrayLike) -> None:
    values = np.asarray(scale, np.float32)
    np.testing.assert_array_equal(values.astype(ml_dtypes.bfloat16).astype(np.float32), values)


@given(values=hnp.arrays(np.float32, 7, elements=st.floats(2.0**-125, 2.0**127, width=32)))
def test_scales_are_rounded_to_bfloat16_up_or_to_the_nearest(values: Floats) -> None:
    above, near = scale_above(values), scale_near(values)
    assert_bfloat16(above)
    assert (values <= above).all()
    assert (above <= values * (1 + 2.0**-7)).all()
    np.testing.assert_array_equal(near, values.astype(ml_dtypes.bfloat16).astype(np.float32))
    np.testing.assert_array_equal(scale_above(near), near)


def weights(rng: np.random.Generator, outputs: int, inputs: int) -> Floats:
    return (0.02 * rng.standard_normal((outputs, inputs))).astype(np.float32)


# --- statistics ----------------------------------------------------------------------------------------


@given(cuts=st.lists(st.integers(0, 700), max_size=6))
def test_statistics_do_not_depend_on_how_tokens_are_split(cuts: list[int]) -> None:
    x = activations(np.random.default_rng(0), 700, 12)
    whole, parts = collected(x, hessian=True), LinearStatistics("layer", 12, hessian=True)
    for part in np.split(x, sorted(cuts)):
        parts.update(part)
    assert parts.count == whole.count == 700
    np.testing.assert_array_equal(parts.rows, whole.rows)
    np.testing.assert_array_equal(parts.channel_absmax, np.abs(x).max(0))
    np.testing.assert_allclose(parts.hessian, x.T @ x / 700, rtol=1e-4, atol=1e-5)


def test_the_sample_is_bounded_and_drawn_from_all_tokens_alike() -> None:
    tokens = np.arange(40_000, dtype=np.float32)[:, None]
    drawn = collected(tokens, sample=400).rows[:, 0]
    assert len(np.unique(drawn)) == 400
    quarters = np.histogram(drawn, bins=4, range=(0, 40_000))[0]
    assert quarters.min() > 60, "100 expected in each quarter"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_activations_that_are_not_finite_are_refused_by_layer_and_leave_no_trace(bad: float) -> None:
    statistics = collected(np.ones((3, 4), np.float32), "prefix model.layers.7")
    with pytest.raises(CheckpointError, match=r"prefix model\.layers\.7: activations are not finite"):
        statistics.update(np.array([[0, 0, bad, 9]], np.float32))
    assert (statistics.count, statistics.absmax) == (3, 1.0)


def test_activations_of_another_width_are_refused_and_none_are_none() -> None:
    statistics = LinearStatistics("layer", 4)
    statistics.update(np.empty((2, 0, 4), np.float32))
    assert (statistics.count, statistics.absmax, statistics.rows.shape) == (0, 0.0, (0, 4))
    with pytest.raises(CheckpointError, match="expected 4 channels"):
        statistics.update(np.ones((2, 5), np.float32))
    with pytest.raises(ValueError, match="hessian=True"):
        _ = statistics.hessian


# --- 8 bits --------------------------------------------------------------------------------------------


@given(weight=anything)
def test_a_weight_by_channel_is_at_most_half_a_step_off(weight: Floats) -> None:
    codes, scale = quantize_per_channel(weight)
    assert codes.dtype == np.int8
    assert np.abs(codes.astype(int)).max() <= 127
    assert (scale >= np.finfo(np.float32).tiny).all()
    assert_bfloat16(scale)
    off = np.abs(codes * scale[:, None].astype(np.float64) - weight)
    assert (off <= scale[:, None] * (0.5 + 1e-4)).all()


def test_rows_of_zeros_have_scale_one_and_zero_codes() -> None:
    codes, scale = quantize_per_channel(np.array([[0, 0], [1e-40, 0], [254, -127]], np.float32))
    assert scale.tolist() == [1, 1, 2]
    assert codes.tolist() == [[0, 0], [0, 0], [127, -64]]


@settings(deadline=None, max_examples=30)
@given(seed=seeds, tail=st.sampled_from((1, 2, 5, 30)), smoothed=st.booleans())
def test_the_activation_scale_is_never_worse_than_the_full_range(
    seed: int, tail: int, smoothed: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_t(tail, (200, 16)).astype(np.float32)
    s = np.exp(rng.standard_normal(16)).astype(np.float32) if smoothed else np.ones(16, np.float32)
    scale, full = activation_scale(collected(x), s), float(scale_above(np.abs(x / s).max() / 127))
    chosen, naive = (np.square(fake_quantize(x / s, step) * s - x).sum() for step in (scale, full))
    assert_bfloat16(scale)
    assert 0 < scale <= full
    assert chosen <= naive * 1.0001


def test_heavy_tails_are_clipped_and_a_rare_spike_is_not() -> None:
    x = np.random.default_rng(0).standard_normal((20_000, 8)).astype(np.float32)
    tails = np.random.default_rng(0).standard_t(3, (20_000, 8)).astype(np.float32)
    assert activation_scale(collected(tails)) < 0.95 * np.abs(tails).max() / 127
    spike = x.copy()
    spike[next(i for i in range(20_000) if x[i] not in collected(x).rows), 3] = 1e4
    statistics = collected(spike)
    assert np.abs(statistics.rows).max() < 10, "no sampled row holds the spike"
    assert activation_scale(statistics) > 10 / 127


def test_inputs_that_never_fire_have_scale_one_and_no_inputs_are_refused() -> None:
    assert activation_scale(collected(np.zeros((9, 4), np.float32))) == 1.0
    with pytest.raises(CheckpointError, match="calibration of expert 0: no token"):
        activation_scale(LinearStatistics("expert 0", 4))


def test_the_error_of_a_linear_layer_is_relative() -> None:
    weight, rows = np.eye(2, dtype=np.float32), np.array([[3, 4]], np.float32)
    assert linear_error(weight, weight, rows) == 0.0
    assert linear_error(weight, 1.5 * weight, rows) == pytest.approx(0.5)
    assert linear_error(weight, weight, rows, 0 * rows) == pytest.approx(1.0)
    assert (linear_error(0 * weight, 0 * weight, rows), linear_error(0 * weight, weight, rows)) == (0, np.inf)


# --- smoothing -----------------------------------------------------------------------------------------


@given(seed=seeds, alpha=st.floats(0, 1))
def test_smoothing_leaves_the_product_as_it_was(seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    x, weight = activations(rng, 20, 32, 1000.0), weights(rng, 8, 32)
    s = smoothing(np.abs(x).max(0), np.abs(weight).max(0), alpha)
    exact = x.astype(np.float64) @ weight.T
    np.testing.assert_allclose((x / s) @ (weight * s).T, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())


def test_smoothing_follows_its_formula_within_bounds() -> None:
    inputs = np.array([4, 0, 1e-42, 1e30, 1e-30, 9], np.float32)
    outputs = np.array([0.25, 1, 1, 1, 1, 0], np.float32)
    s = smoothing(inputs, outputs, 0.5)
    np.testing.assert_allclose(s, [4, 1, 1, 1e4, 1e-4, 1e4], rtol=2.0**-8)
    assert s.dtype == np.float32
    assert_bfloat16(scale_near(1 / s))
    np.testing.assert_allclose(scale_near(1 / s), 1 / s, rtol=1e-6)


def int8_error(x: Floats, parts: list[Floats], s: Floats) -> float:
    """What an engine computes from int8 inputs and weights, squared and relative, summed over the weights."""
    rounded = fake_quantize(x / s, activation_scale(collected(x), s))
    quantized = [quantize_per_channel(part * s) for part in parts]
    made = [rounded @ (codes * scale[:, None]).T for codes, scale in quantized]
    exact = [x @ part.T for part in parts]
    return float(sum(np.square(m - e).sum() / np.square(e).sum() for m, e in zip(made, exact, strict=True)))


@settings(deadline=None, max_examples=20)
@given(seed=seeds, outlier=st.sampled_from((0.0, 1.0, 30.0, 1000.0)))
def test_the_chosen_smoothing_is_never_worse_than_none_on_the_sample(seed: int, outlier: float) -> None:
    rng = np.random.default_rng(seed)
    x, parts = activations(rng, 100, 48, outlier), [weights(rng, 24, 48), weights(rng, 8, 48)]
    s = best_smoothing(collected(x), parts)
    error, without = int8_error(x, parts, s), int8_error(x, parts, np.ones_like(s))
    assert error <= without * 1.001
    assert (s[::16] == 1).all() or outlier != 0


def test_smoothing_pays_beside_outliers() -> None:
    rng = np.random.default_rng(0)
    x, parts = activations(rng, 250, 256, 100.0), [weights(rng, 64, 256)]
    x[:, ::32] /= 100  # half of the outliers go: fewer than one channel in ten is left
    s = best_smoothing(collected(x), parts)
    assert int8_error(x, parts, s) < 0.2 * int8_error(x, parts, np.ones_like(s))


def test_dead_weights_and_dead_inputs_need_no_smoothing_to_be_finite() -> None:
    zeros = collected(np.zeros((5, 6), np.float32))
    assert best_smoothing(zeros, [np.ones((2, 6), np.float32)]).tolist() == [1] * 6
    alive = collected(np.ones((5, 6), np.float32))
    assert np.isfinite(best_smoothing(alive, [np.zeros((2, 6), np.float32)])).all()


# --- blocks --------------------------------------------------------------------------------------------


def check_blocks(
    weight: Floats, codes: npt.NDArray[np.int8], scale: Floats, block: int | None, bits: Bits
) -> None:
    """What holds for any weight: shapes, ranges, and half a step inside the range."""
    low, high = LIMITS[bits]
    width = block or weight.shape[1]
    assert (codes.shape, codes.dtype, scale.dtype) == (weight.shape, np.int8, np.float32)
    assert scale.shape == (weight.shape[0], -(-weight.shape[1] // width))
    assert codes.min() >= low
    assert codes.max() <= high
    assert (scale >= np.finfo(np.float32).tiny).all()
    assert_bfloat16(scale)
    assert np.isfinite(dequantize_blocks(codes, scale, block)).all()


@settings(deadline=None)
@given(weight=anything, block=BLOCKS, bits=BITS, seed=seeds)
def test_rounding_in_blocks_is_at_most_half_a_step_off_and_no_worse_than_the_full_range(
    weight: Floats, block: int | None, bits: Bits, seed: int
) -> None:
    low, high = LIMITS[bits]
    importance = np.exp(4 * np.random.default_rng(seed).standard_normal(weight.shape[1])).astype(np.float32)
    codes, scale = quantize_blocks(weight, block, importance, bits=bits)
    check_blocks(weight, codes, scale, block, bits)
    width = block or weight.shape[1]
    step = np.repeat(scale.astype(np.float64), width, axis=1)[:, : weight.shape[1]]
    off = np.abs(codes * step - weight)
    assert (off <= step * 0.5001)[(codes > low) & (codes < high)].all()
    starts = np.arange(0, weight.shape[1], width)
    full = np.repeat(np.maximum.reduceat(np.abs(weight), starts, axis=1) / high, width, axis=1)
    full = np.maximum(full[:, : weight.shape[1]].astype(np.float64), 1e-33)
    naive = np.clip(np.rint(weight / full), low, high) * full - weight
    rounding = weight * 2.0**-8  # what a scale loses by being a bfloat16 number
    cost, worst, lost = (
        np.add.reduceat(importance * np.square(e.astype(np.float64)), starts, axis=1)
        for e in (off, naive, rounding)
    )
    worst = np.square(np.sqrt(worst) + np.sqrt(lost))
    assert (cost <= worst * 1.001 + np.square(scale.astype(np.float64)) * 1e-6 * importance.max()).all()


def moment(rng: np.random.Generator, tokens: int, channels: int, outlier: float, dead: int) -> Floats:
    x = activations(rng, tokens, channels, outlier)
    x[:, rng.permutation(channels)[:dead]] = 0
    return x.T @ x / np.float32(tokens)


def loss(weight: Floats, codes: npt.NDArray[np.int8], scale: Floats, block: int | None, h: Floats) -> Floats:
    """Each row's e·H·e."""
    e = (weight - dequantize_blocks(codes, scale, block)).astype(np.float64)
    return ((e @ h) * e).sum(1)


@settings(deadline=None, max_examples=40)
@given(
    seed=seeds,
    shape=st.tuples(st.integers(1, 20), st.integers(1, 150)),
    block=BLOCKS,
    bits=BITS,
    tokens=st.sampled_from((1, 7, 300)),
    outlier=st.sampled_from((1.0, 1000.0)),
    dead=st.integers(0, 150),
    damping=st.sampled_from((0.0, 0.05, 1.0)),
)
def test_compensated_rounding_is_never_worse_than_rounding_to_nearest(
    seed: int,
    shape: tuple[int, int],
    block: int | None,
    bits: Bits,
    tokens: int,
    outlier: float,
    dead: int,
    damping: float,
) -> None:
    rng = np.random.default_rng(seed)
    weight, h = weights(rng, *shape), moment(rng, tokens, shape[1], outlier, dead)
    made = gptq_blocks(weight, h, block, damping, bits=bits)
    check_blocks(weight, *made, block, bits)
    if damping > 0:
        diagonal = np.diagonal(h)
        h = h + np.diag(damping * (diagonal + 0.01 * diagonal.mean()))
        nearest = quantize_blocks(weight, block, diagonal, bits=bits)
        slack = 1e-10 * ((weight @ h) * weight).sum(1)  # blocks of 1 leave nothing but float32's own error
        assert (loss(weight, *made, block, h) <= loss(weight, *nearest, block, h) * 1.001 + slack).all()


def test_compensation_pays_on_tokens_that_were_not_seen() -> None:
    rng = np.random.default_rng(0)
    weight, x, unseen = weights(rng, 64, 256), activations(rng, 4000, 256, 30), activations(rng, 500, 256, 30)
    h = collected(x, hessian=True).hessian
    errors = [
        linear_error(weight, dequantize_blocks(*made, 32), unseen)
        for made in (
            gptq_blocks(weight, h, 32),
            quantize_blocks(weight, 32, np.diagonal(h)),
            quantize_blocks(weight, 32),
        )
    ]
    assert errors[0] < 0.85 * errors[1] < 0.85 * 0.8 * errors[2]


def test_codes_are_those_of_gptq_as_published() -> None:
    """Column by column with the inverse's upper Cholesky factor (algorithm 1), given the same scales."""
    rng = np.random.default_rng(5)
    weight, h = weights(rng, 12, 300), moment(rng, 2000, 300, 5.0, 0)
    codes, scale = gptq_blocks(weight, h, 32)
    diagonal = np.diagonal(h).astype(np.float64)
    damped = h + np.diag(0.05 * (diagonal + 0.01 * diagonal.mean()))
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    current = weight.astype(np.float64)
    for i in range(300):
        step = scale[:, i // 32]
        code = np.clip(np.rint(current[:, i] / step), -8, 7)
        np.testing.assert_array_equal(code, codes[:, i], err_msg=f"column {i}")
        current[:, i:] -= np.outer((current[:, i] - code * step) / factor[i, i], factor[i, i:])


def test_an_outlier_keeps_its_accuracy() -> None:
    rng = np.random.default_rng(0)
    weight, x = weights(rng, 32, 128), activations(rng, 1000, 128, 1000.0)
    plain = quantize_blocks(weight, 32)
    made = gptq_blocks(weight, collected(x, hessian=True).hessian, 32)
    errors = [linear_error(weight, dequantize_blocks(*each, 32), x) for each in (made, plain)]
    assert errors[0] < 0.3 * errors[1]


@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_stay_zeros(bits: Bits) -> None:
    weight = np.zeros((3, 40), np.float32)
    for codes, scale in (
        quantize_blocks(weight, 32, bits=bits),
        gptq_blocks(weight, np.eye(40, dtype=np.float32), 32, bits=bits),
        gptq_blocks(weight, np.zeros((40, 40), np.float32), 32, bits=bits),
    ):
        assert not codes.any()
        assert (scale == 1).all()


def test_weights_and_moments_that_are_not_finite_are_refused() -> None:
    good, bad = np.ones((2, 4), np.float32), np.array([[1, np.nan, 1, 1]], np.float32)
    with pytest.raises(CheckpointError, match="not finite"):
        quantize_per_channel(bad)
    with pytest.raises(CheckpointError, match="not finite"):
        quantize_blocks(bad, 2)
    h = np.eye(4, dtype=np.float32)
    for at, value in (((0, 0), np.nan), ((1, 1), -1), ((2, 1), np.inf)):
        broken = h.copy()
        broken[at] = value
        with pytest.raises(CheckpointError, match="finite numbers"):
            gptq_blocks(good, broken, 2)
    with pytest.raises(ConfigError, match="block of 0"):
        quantize_blocks(good, 0)


# --- the exported form ---------------------------------------------------------------------------------


@given(codes=hnp.arrays(np.int8, hnp.array_shapes(max_dims=3, max_side=9), elements=st.integers(-8, 7)))
def test_packing_is_onnx_own(codes: npt.NDArray[np.int8]) -> None:
    own = onnx.helper.make_tensor("w", onnx.TensorProto.INT4, codes.shape, codes.ravel().tolist())
    ours = pack_int4(codes).tobytes()
    assert ours == onnx.numpy_helper.from_array(codes.astype(ml_dtypes.int4)).raw_data
    packed = onnx.helper.make_tensor("w", onnx.TensorProto.INT4, codes.shape, ours, raw=True)
    for tensor in (own, packed):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), codes)


@pytest.mark.parametrize(("inputs", "block"), [(64, 32), (128, 128), (72, 16), (33, 32)])
def test_onnxruntime_computes_with_the_packed_weight(inputs: int, block: int) -> None:
    rng = np.random.default_rng(0)
    weight, x = weights(rng, 6, inputs), activations(rng, 5, inputs)
    codes, scale = quantize_blocks(weight, block)
    helper, kind = onnx.helper, onnx.TensorProto
    packed = helper.make_tensor("w", kind.INT4, codes.T.shape, pack_int4(codes.T).tobytes(), raw=True)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["wide"], axis=0, block_size=block),
            helper.make_node("MatMul", ["x", "wide"], ["y"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", kind.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", kind.FLOAT, (5, 6))],
        [packed, onnx.numpy_helper.from_array(np.ascontiguousarray(scale.T), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    # Its own choice, 4, would round the activations to 8 bits on the way.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    np.testing.assert_allclose(y, x @ dequantize_blocks(codes, scale, block).T, rtol=1e-5, atol=1e-5)
