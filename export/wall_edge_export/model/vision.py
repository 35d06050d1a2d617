"""The Qwen2.5-VL vision tower: patches → image tokens.

Windows and full attention differ only in which patches see each other. Patches keep their merge order
throughout; each attention gathers them into segments and scatters the result back, so no window order
has to be undone at the end. Facts: arXiv 2502.13923 and huggingface/transformers ``qwen2_5_vl``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from wall_edge_export.model.layers import RMSNorm, SwiGLU, additive, attend, rotate
from wall_edge_export.model.shapes import VisionShape

Grid = tuple[int, int]
"""Height and width of one image in patches."""

_VISION_EPS = 1e-6


@dataclass(frozen=True)
class Segments:
    """Which patches attend to each other: ``index [S, L]`` into patches, ``valid [S, L]``."""

    index: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]

    @property
    def inverse(self) -> npt.NDArray[np.int64]:
        """For every patch, its place in the flattened segments."""
        flat = np.flatnonzero(self.valid)
        inverse = np.empty(flat.size, dtype=np.int64)
        inverse[self.index.reshape(-1)[flat]] = flat
        return inverse

    @property
    def in_order(self) -> bool:
        """True when segments are whole and already in patch order, so no gather is needed."""
        return bool(self.valid.all() and (self.index.reshape(-1) == np.arange(self.index.size)).all())


def patch_cells(grid: Grid, merge: int) -> npt.NDArray[np.int64]:
    """Row and column ``[h·w, 2]`` of every patch in merge order (``merge``² neighbours adjacent)."""
    height, width = grid
    rows, columns = np.mgrid[0:height, 0:width]
    cells = np.stack((rows, columns), axis=-1)
    cells = cells.reshape(height // merge, merge, width // merge, merge, 2)
    ordered: npt.NDArray[np.int64] = cells.transpose(0, 2, 1, 3, 4).reshape(-1, 2).astype(np.int64)
    return ordered


def segments(grids: Sequence[Grid], shape: VisionShape, *, windowed: bool) -> Segments:
    """Group the patches of all images: by image, or by square windows of ``window_size`` px."""
    side = shape.window_patches
    groups: list[npt.NDArray[np.int64]] = []
    start = 0
    for grid in grids:
        cells = patch_cells(grid, shape.spatial_merge_size)
        keys = (cells // side) @ np.array([1 << 20, 1]) if windowed else np.zeros(len(cells), np.int64)
        groups += [start + np.flatnonzero(keys == key) for key in np.unique(keys)]
        start += len(cells)
    longest = max(len(group) for group in groups)
    index = np.zeros((len(groups), longest), dtype=np.int64)
    valid = np.zeros((len(groups), longest), dtype=np.bool_)
    for row, group in enumerate(groups):
        index[row, : len(group)] = group
        valid[row, : len(group)] = True
    return Segments(index, valid)


def rotary_tables(grids: Sequence[Grid], shape: VisionShape) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``[patches, 1, head_dim]`` of the two-dimensional rotary embedding."""
    quarter = shape.hidden_size // shape.num_heads // 4
    frequencies = 1.0 / 10000.0 ** (torch.arange(quarter, dtype=torch.float32) / quarter)
    cells = np.concatenate([patch_cells(grid, shape.spatial_merge_size) for grid in grids])
    angles = (torch.from_numpy(cells).float()[:, :, None] * frequencies).flatten(1)
    angles = torch.cat((angles, angles), dim=-1)[:, None, :]
    return angles.cos(), angles.sin()


class SegmentTensors:
    """:class:`Segments` as the tensors that the forward pass uses."""

    def __init__(self, plan: Segments, cos: Tensor, sin: Tensor) -> None:
        self.shape = plan.index.shape
        self.in_order = plan.in_order
        self.index = torch.from_numpy(plan.index.reshape(-1))
        self.inverse = torch.from_numpy(plan.inverse)
        self.cos, self.sin = self.gather(cos), self.gather(sin)
        self.bias = None if plan.valid.all() else additive(torch.from_numpy(plan.valid))[:, None, None, :]

    def gather(self, x: Tensor) -> Tensor:
        """``[patches, ...]`` → ``[segments, length, ...]``."""
        ordered = x if self.in_order else x.index_select(0, self.index)
        split: Tensor = ordered.unflatten(0, self.shape)
        return split

    def scatter(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`gather`; padding is dropped."""
        flat = x.flatten(0, 1)
        return flat if self.in_order else flat.index_select(0, self.inverse)


class VisionLayout:
    """What all blocks share for images of given grids: rotary tables and who attends to whom."""

    def __init__(self, grids: Sequence[Grid], shape: VisionShape) -> None:
        tables = rotary_tables(grids, shape)
        self.windows = SegmentTensors(segments(grids, shape, windowed=True), *tables)
        self.whole = SegmentTensors(segments(grids, shape, windowed=False), *tables)


class VisionAttention(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.heads = shape.num_heads
        self.qkv = nn.Linear(shape.hidden_size, 3 * shape.hidden_size)
        self.proj = nn.Linear(shape.hidden_size, shape.hidden_size)

    def forward(self, x: Tensor, plan: SegmentTensors) -> Tensor:
        qkv = plan.gather(self.qkv(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = (qkv.select(2, part) for part in range(3))
        q = (rotate(q, plan.cos, plan.sin) * q.shape[-1] ** -0.5).to(x.dtype)
        k = rotate(k, plan.cos, plan.sin).to(x.dtype)
        out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), plan.bias)
        merged: Tensor = self.proj(plan.scatter(out.transpose(1, 2).flatten(2)))
        return merged


class VisionBlock(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.norm1 = RMSNorm(shape.hidden_size, _VISION_EPS)
        self.norm2 = RMSNorm(shape.hidden_size, _VISION_EPS)
        self.attn = VisionAttention(shape)
        self.mlp = SwiGLU(shape.hidden_size, shape.intermediate_size, bias=True)

    def forward(self, x: Tensor, plan: SegmentTensors) -> Tensor:
        x = x + self.attn(self.norm1(x), plan)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchEmbed(nn.Module):
    """The checkpoint keeps a Conv3d whose stride is its kernel: a matrix product over flat patches."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        kernel = (shape.temporal_patch_size, shape.patch_size, shape.patch_size)
        self.proj = nn.Conv3d(shape.in_channels, shape.hidden_size, kernel, stride=kernel, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        weight = self.proj.weight.flatten(1)
        return nn.functional.linear(patches.to(weight.dtype), weight)


class PatchMerger(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.merged = shape.hidden_size * shape.spatial_merge_size**2
        self.ln_q = RMSNorm(shape.hidden_size, _VISION_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(self.merged, self.merged), nn.GELU(), nn.Linear(self.merged, shape.out_hidden_size)
        )

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_q(x)
        out: Tensor = self.mlp(normed.unflatten(-2, (-1, self.merged // x.shape[-1])).flatten(-2))
        return out


class VisionTower(nn.Module):
    """Patches ``[..., n, patch_dim]`` of images with fixed grids → tokens ``[..., n/merge², hidden]``."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape)
        self.blocks = nn.ModuleList([VisionBlock(shape) for _ in range(shape.depth)])
        self.merger = PatchMerger(shape)

    def forward(self, patches: Tensor, grids: Sequence[Grid]) -> Tensor:
        layout = VisionLayout(grids, self.shape)
        x = self.patch_embed(patches)
        for number in range(self.shape.depth):
            x = self.block(number, x, layout)
        out: Tensor = self.merger(x)
        return out

    def block(self, number: int, x: Tensor, layout: VisionLayout) -> Tensor:
        """One block over patches ``[..., n, width]``."""
        plan = layout.whole if number in self.shape.full_attention_blocks else layout.windows
        out: Tensor = self.blocks[number](x, plan)
        return out
