"""Whether a bundle's manifest can be meant: its parts agree with one another and with the graphs' tensors.

A digest says that a manifest is what somebody wrote, not that it makes sense; an arm moves by these numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wall_edge.bundle.time_grid import check_grid
from wall_edge.checks import MAX_CAMERAS, between, counted, require_file_name, require_name, require_sha256
from wall_edge.config_loader import Invalid
from wall_edge.errors import ConfigError

if TYPE_CHECKING:
    from wall_edge.bundle.manifest import Embodiment, GraphSpec, Manifest, TensorSpec

MAX_HORIZON = 1024
MAX_STEPS = 1000
MAX_PROMPT_TOKENS = 32_768
MAX_SIZE = 1 << 24
"""Of one axis of a tensor: a vocabulary has 2^18 rows."""
_CACHE_BYTES = 16 << 30
_PHYSICAL = 1000.0
"""Offsets, scales and limits in rad; 300 degrees are 5."""
_TOLERANCE = 10.0
_FLAVOURS = {
    "wall-oss-flow": ("vision", "prefix", "lm_head", "expert"),
    "wall-oss-fast": ("vision", "prefix", "lm_head"),
}
_GUIDED = "guided"


def check_embodiment(robot: Embodiment) -> None:
    """One value a degree of freedom, in ranges that a joint can have. Raises :class:`Invalid`."""
    dof = len(robot.dof_names)
    for key, values in (
        ("state.offset", robot.state.offset),
        ("state.scale", robot.state.scale),
        ("action.offset", robot.action.offset),
        ("action.scale", robot.action.scale),
        ("state_slots", robot.state_slots),
        ("action_slots", robot.action_slots),
        ("lower", robot.lower),
        ("upper", robot.upper),
    ):
        if values is not None and len(values) != dof:
            raise Invalid(key, list(values), expected=f"{dof} values, one for each of dof_names")
    for i, (low, high) in enumerate(zip(robot.lower or (), robot.upper or (), strict=False)):
        if low >= high:
            raise Invalid(f"lower[{i}]", low, expected=f"less than upper[{i}] ({high:g})")
    for key, limits in (("lower", robot.lower), ("upper", robot.upper)):
        for i, value in enumerate(limits or ()):
            between(f"{key}[{i}]", value, -_PHYSICAL, _PHYSICAL, robot.unit)


def check_manifest(manifest: Manifest) -> None:
    """Everything that several parts say together. Raises :class:`Invalid` or :class:`ConfigError`."""
    counted("cameras", manifest.cameras, 1, MAX_CAMERAS)
    for name in manifest.cameras:
        require_name(f"cameras.{name}", name)
    between("horizon", manifest.horizon, 1, MAX_HORIZON, "steps")
    between("action_rate_hz", manifest.action_rate_hz, 0.1, 1000, "Hz")
    counted("time_grid", manifest.time_grid, 2, MAX_STEPS + 1)
    check_grid(manifest.time_grid)
    require_name("recipe", manifest.recipe, also="+")
    _check_files(manifest)
    _check_graphs(manifest)
    _check_slots(manifest)
    _check_prompt(manifest)
    for name, tolerance in manifest.tolerances.items():
        require_name(f"tolerances.{name}", name)
        between(f"tolerances.{name}.limit", tolerance.limit, 0, _TOLERANCE)


def _check_files(manifest: Manifest) -> None:
    counted("files", manifest.files, 0, 64)
    for name, digest in manifest.files.items():
        require_file_name(f"files.{name}", name)
        require_sha256(f"files.{name}", digest)
    if manifest.head_tokens is not None:
        require_file_name("head_tokens", manifest.head_tokens, ".npy")
    used = [name for graph in manifest.graphs.values() for name in (graph.file, graph.data)]
    if len(set(used)) < len(used):
        raise Invalid("graphs", used, expected="files of its own for each graph")


def _check_graphs(manifest: Manifest) -> None:
    """The graphs that the actions need, with the tensors that the runtime gives and takes."""
    flow = manifest.fast is None
    if manifest.prompt_flavour != ("wall-oss-flow" if flow else "wall-oss-fast"):
        expected = "wall-oss-flow without 'fast', wall-oss-fast with it"
        raise Invalid("prompt_flavour", manifest.prompt_flavour, expected=expected)
    wanted = _FLAVOURS[manifest.prompt_flavour]
    if set(manifest.graphs) not in (set(wanted), {*wanted, _GUIDED} if flow else set(wanted)):
        raise Invalid("graphs", list(manifest.graphs), expected=", ".join(wanted))
    for name, (inputs, outputs) in _expected(manifest).items():
        spec = manifest.graphs[name]
        _same(f"graphs.{name}.inputs", spec.inputs, inputs)
        _same(f"graphs.{name}.outputs", spec.outputs, outputs)


Tensors = dict[str, tuple[str, tuple[int | str, ...]]]


def _expected(manifest: Manifest) -> dict[str, tuple[Tensors, Tensors]]:
    """Types and shapes of every graph's tensors, with the model's own sizes as the manifest gives them."""
    graphs, horizon = manifest.graphs, manifest.horizon
    hidden = _size(graphs, "vision", "image_embeds", 1, 2)
    images = sum(camera.tokens for camera in manifest.cameras.values())
    state = _size(graphs, "prefix", "state", 0, 1)
    tail = tuple(_size(graphs, "prefix", "past_kv", axis, 5) for axis in range(1, 5))
    between("graphs.prefix.inputs.past_kv.shape[2]", tail[1], 2, 2)
    rows = _size(graphs, "lm_head", "logits", 0, 1)
    frames: Tensors = {
        name: ("uint8", (camera.height, camera.width, 3)) for name, camera in manifest.cameras.items()
    }
    prefix: Tensors = {
        "input_ids": ("int64", ("tokens",)),
        "image_embeds": ("float32", (images, hidden)),
        "state": ("float32", (state,)),
        "state_mask": ("float32", (state,)),
        "positions": ("int64", (3, "tokens")),
        "past_kv": ("float32", ("past", *tail)),
    }
    made: dict[str, tuple[Tensors, Tensors]] = {
        "vision": (frames, {"image_embeds": ("float32", (images, hidden))}),
        "prefix": (prefix, {"kv": ("float32", ("tokens", *tail)), "hidden": ("float32", (1, hidden))}),
        "lm_head": ({"hidden": ("float32", (1, hidden))}, {"logits": ("float32", (rows,))}),
    }
    if "expert" not in graphs:
        return made
    action = ("float32", (horizon, _size(graphs, "expert", "noisy_action", 1, 2)))
    expert: Tensors = {
        "noisy_action": action,
        "dof_mask": action,
        "time": ("float32", ()),
        "positions": ("int64", (3, horizon)),
        "past_kv": prefix["past_kv"],
    }
    made["expert"] = (expert, {"velocity": action})
    if _GUIDED in graphs:
        made[_GUIDED] = (
            {**expert, "target": action, "weights": action},
            {"velocity": action, "guidance": action},
        )
    return made


def _size(graphs: dict[str, GraphSpec], graph: str, tensor: str, axis: int, rank: int) -> int:
    """A size that only the manifest knows: of an axis of a tensor of ``rank`` axes."""
    spec = {**graphs[graph].inputs, **graphs[graph].outputs}.get(tensor)
    shape = spec.shape if spec is not None else ()
    size = shape[axis] if len(shape) == rank else ""
    if not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
        raise Invalid(f"graphs.{graph}", list(shape), expected=f"a tensor {tensor} of {rank} axes")
    return size


def _same(key: str, found: dict[str, TensorSpec], wanted: Tensors) -> None:
    if set(found) != set(wanted):
        raise Invalid(key, list(found), expected=", ".join(wanted))
    for name, (kind, shape) in wanted.items():
        if (found[name].dtype, found[name].shape) != (kind, shape):
            given = f"{found[name].dtype} {list(found[name].shape)}"
            raise Invalid(f"{key}.{name}", given, expected=f"{kind} {list(shape)}")


def _check_slots(manifest: Manifest) -> None:
    robot = manifest.embodiment
    for key, slots, width in (
        ("state_slots", robot.state_slots, manifest.state_slots),
        ("action_slots", robot.action_slots, max(manifest.action_slots, 1)),
    ):
        bound = width if manifest.fast is None or key == "state_slots" else MAX_SIZE
        for i, slot in enumerate(slots):
            between(f"embodiment.{key}[{i}]", slot, 0, bound - 1, "(the model's slots)")


def _check_prompt(manifest: Manifest) -> None:
    """The images leave room for words, and the cache of keys and values can be made."""
    between("max_prompt_tokens", manifest.max_prompt_tokens, 1, MAX_PROMPT_TOKENS, "tokens")
    images = sum(camera.tokens for camera in manifest.cameras.values())
    if images >= manifest.max_prompt_tokens:
        raise Invalid(
            "max_prompt_tokens", manifest.max_prompt_tokens, expected=f"more than the images' {images}"
        )
    size = 4 * manifest.max_prompt_tokens
    for axis in manifest.graphs["prefix"].inputs["past_kv"].shape[1:]:
        size *= int(axis)
    if size > _CACHE_BYTES:
        raise ConfigError(
            f"keys and values of {manifest.max_prompt_tokens} tokens take {size} bytes",
            expected=f"at most {_CACHE_BYTES}",
        )
