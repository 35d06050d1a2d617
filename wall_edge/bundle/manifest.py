"""The bundle: what export leaves and engines load.

A folder with ``manifest.yaml``, its digest ``manifest.sha256``, the graphs and the files that hold their
weights, the tokenizer and golden inputs/outputs. The manifest holds the SHA-256 of every other file; opening
a bundle checks them all, so a flipped bit is refused by name before anything runs. Bundles appear whole or
not at all.

A digest says that a manifest is what somebody wrote, not that it makes sense; an arm moves by these numbers.
So a manifest whose parts do not agree with one another cannot be made, by a reader or by the exporter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from wall_edge.bundle.actions import FastActions, FlowActions
from wall_edge.bundle.embodiment import Embodiment
from wall_edge.bundle.graphs.required import ACTIVATIONS, check_graphs
from wall_edge.bundle.graphs.specs import ElementType, GraphSpec
from wall_edge.bundle.image_geometry import ImageGeometry
from wall_edge.bundle.prompt_style import ActionSpace, Wording
from wall_edge.bundle.quantization import CalibrationRecord, FamilyLoss, Sensitivity
from wall_edge.bundle.second_opinion import SecondOpinion
from wall_edge.bundle.state_text import StateText
from wall_edge.checks import (
    MAX_CAMERAS,
    MAX_SLOTS,
    between,
    counted,
    one_of,
    require_file_name,
    require_name,
    require_sha256,
    require_text,
)
from wall_edge.config_loader import Invalid
from wall_edge.errors import ConfigError

FORMAT_VERSION = 5
MANIFEST, DIGEST, TOKENIZER, GOLDENS = "manifest.yaml", "manifest.sha256", "tokenizer.json", "goldens.npz"
HEAD_TOKENS = "lm_head_tokens.npy"
MAX_HORIZON = 1024
MAX_PROMPT_TOKENS = 32_768
_CACHE_BYTES = 16 << 30
_MAX_LIMIT = 10.0
"""Of a tolerance."""

FamilyName = Literal["wall-oss", "wall-oss-0.5"]
"""Which generation of checkpoints a policy is of: ``wall_edge_export.model.family`` says what that means."""


@dataclass(frozen=True)
class Source:
    """Which checkpoint the bundle was made from; the digest covers its config and its weights."""

    checkpoint: str
    sha256: str

    def __post_init__(self) -> None:
        require_text("checkpoint", self.checkpoint)
        require_sha256("sha256", self.sha256)


@dataclass(frozen=True)
class Tolerance:
    """How far a stage may be off: ``measure`` is ``max_abs`` or ``relative_l2``; a limit of 0 is exact."""

    measure: Literal["max_abs", "relative_l2"]
    limit: float


@dataclass(frozen=True)
class KeysValues:
    """Type and layout of the keys/values that ``prefix`` writes and ``expert`` reads where they lie.

    Token-major: a cache fills from the front, and a prefix of it is its first rows.
    """

    dtype: ElementType
    layout: tuple[str, ...] = ("tokens", "layers", "keys and values", "kv heads", "head dim")

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, ACTIVATIONS)
        if self.layout != type(self).layout:
            raise Invalid("layout", list(self.layout), expected=", ".join(type(self).layout))


@dataclass(frozen=True)
class Manifest:
    """Everything that a device needs to know to run the graphs.

    Raises :class:`Invalid` or :class:`ConfigError` for parts that do not agree with one another.
    """

    format_version: int
    source: Source
    embodiment: Embodiment
    cameras: dict[str, ImageGeometry]
    actions: FlowActions | FastActions
    horizon: int
    action_rate_hz: float
    max_prompt_tokens: int
    recipe: str
    graphs: dict[str, GraphSpec]
    keys_values: KeysValues
    tolerances: dict[str, Tolerance]
    files: dict[str, str]
    calibration: CalibrationRecord | None = None
    second_opinion: SecondOpinion | None = None
    """What transformers agreed to at export; none where nobody asked it."""
    losses: tuple[FamilyLoss, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    head_tokens: str | None = None
    """File (npy) with the token id of each row of a trimmed vocabulary head; none when it has them all."""
    prompt_wording: Wording = "wall-edge"
    """Whose words the prompts are in; bundles before it had but one."""
    prompt_action_space: ActionSpace | None = None
    """Set where the action prompt's system turn tells of cameras and actions; none for the plain one."""
    family: FamilyName = "wall-oss"
    state_text: StateText | None = None
    """Set where the prompt spells the state; none where a token of its own carries it."""

    def __post_init__(self) -> None:
        counted("cameras", self.cameras, 1, MAX_CAMERAS)
        for name in self.cameras:
            require_name(f"cameras.{name}", name)
        between("horizon", self.horizon, 1, MAX_HORIZON, "steps")
        between("action_rate_hz", self.action_rate_hz, 0.1, 1000, "Hz")
        require_name("recipe", self.recipe, also="+")
        self._check_files()
        one_of("family", self.family, get_args(FamilyName))
        self._check_state_text()
        token = self.state_text is None
        check_graphs(self.graphs, self.cameras, self.actions, self.horizon, state_token=token)
        cached = self.graphs["prefix"].inputs["past_kv"].dtype
        if self.keys_values.dtype != cached:
            raise Invalid("keys_values.dtype", self.keys_values.dtype, expected=f"{cached}, as in the graphs")
        self._check_slots()
        self._check_prompt()
        for name, tolerance in self.tolerances.items():
            for part in name.split(".", 1):  # a stage, and what of it: a degree of freedom, a layer
                require_name(f"tolerances.{name}", part)
            between(f"tolerances.{name}.limit", tolerance.limit, 0, _MAX_LIMIT)

    @property
    def policy(self) -> str:
        """What kind of policy it is: its family and what it answers in."""
        return f"{self.family}, {self.actions.title} actions"

    @property
    def dof(self) -> int:
        """Degrees of freedom of an action."""
        return len(self.embodiment.action)

    @property
    def state_dof(self) -> int:
        """Degrees of freedom of the state."""
        return len(self.embodiment.state)

    @property
    def action_slots(self) -> int:
        """The model's action slots: the robot's degrees of freedom are some of them."""
        return self.actions.slots(self.graphs, self.dof)

    @property
    def state_slots(self) -> int:
        """The model's state slots; where the prompt spells the state, as many as are known or taken."""
        if self.state_text is not None:
            return self.state_text.width(self.embodiment.state)
        return int(self.graphs["prefix"].inputs["state"].shape[0])

    @property
    def model_state_slots(self) -> int | None:
        """The model's state slots; None where the prompt spells taken ones and nothing tells of others."""
        text = self.state_text
        return self.state_slots if text is None else text.model_slots(self.embodiment.state)

    def _check_files(self) -> None:
        counted("files", self.files, 0, 64)
        for name, digest in self.files.items():
            require_file_name(f"files.{name}", name)
            require_sha256(f"files.{name}", digest)
        if self.head_tokens is not None:
            require_file_name("head_tokens", self.head_tokens, ".npy")
        names = [name for graph in self.graphs.values() for name in (graph.file, graph.data)]
        if len(set(names)) < len(names):
            raise Invalid("graphs", names, expected="files of its own for each graph")

    def _check_state_text(self) -> None:
        """Words or a token carry the state, as the graph ``prefix`` has no input for it or one."""
        if self.family == "wall-oss" and self.state_text is not None:
            raise Invalid(
                "state_text", asdict(self.state_text), expected="none: this family's state has a token"
            )
        prefix = self.graphs.get("prefix")
        if prefix is None or self.family == "wall-oss":
            return  # that a graph or an input is missing is said by others
        token = "state" in prefix.inputs
        if token and self.state_text is not None:
            expected = "none, as the graph prefix has an input for the state"
            raise Invalid("state_text", asdict(self.state_text), expected=expected)
        if not token and self.state_text is None:
            expected = "the bins of the state's words, as the graph prefix has no input for the state"
            raise Invalid("state_text", None, expected=expected, fix="export the bundle again")

    def _check_slots(self) -> None:
        """No degree of freedom is in a slot that the model does not have."""
        robot, most = self.embodiment, min(self.model_state_slots or MAX_SLOTS, MAX_SLOTS)
        counted("embodiment.state.masked", robot.state.masked, 0, most)
        for key, slots, bound in (
            ("state", robot.state.slots, most),
            ("action", robot.action.slots, self.actions.slot_bound(self.graphs)),
        ):
            for i, slot in enumerate(slots):
                between(f"embodiment.{key}.degrees[{i}].slot", slot, 0, bound - 1, "(the model's slots)")

    def _check_prompt(self) -> None:
        """Images and state leave room for words, and the cache of keys and values can be made."""
        between("max_prompt_tokens", self.max_prompt_tokens, 1, MAX_PROMPT_TOKENS, "tokens")
        images = sum(camera.tokens for camera in self.cameras.values())
        state = 0 if self.state_text is None else self.state_text.most_tokens(self.state_dof)
        if images + state >= self.max_prompt_tokens:
            expected = f"more than the images' {images}" + (f" and the state's {state}" if state else "")
            raise Invalid("max_prompt_tokens", self.max_prompt_tokens, expected=expected)
        size = 4 * self.max_prompt_tokens
        for axis in self.graphs["prefix"].inputs["past_kv"].shape[1:]:
            size *= int(axis)
        if size > _CACHE_BYTES:
            raise ConfigError(
                f"keys and values of {self.max_prompt_tokens} tokens take {size} bytes",
                expected=f"at most {_CACHE_BYTES}",
            )
