"""The bundle: what export leaves and engines load."""

from wall_edge.bundle.actions import (
    MAX_FAST_TOKENS,
    MAX_SUBGOAL_TOKENS,
    ActionKind,
    FastActions,
    FlowActions,
    kind_of_graphs,
    require_flow,
    require_steps,
)
from wall_edge.bundle.actions.fast_settings import FAST_TOKENIZER, FastSettings
from wall_edge.bundle.capacity import session_capacity
from wall_edge.bundle.embodiment import (
    ROTATION_SIZES,
    Degree,
    Embodiment,
    Layout,
    Part,
    Pose,
    Reference,
    RotationForm,
    Unit,
    joint_layout,
    unreferred,
)
from wall_edge.bundle.goldens import require_goldens, unchecked_stage
from wall_edge.bundle.graphs.specs import INT8, ONNX_TYPES, PRECISIONS, ElementType, GraphSpec, TensorSpec
from wall_edge.bundle.image_geometry import MAX_EXPORT_TOKENS, MAX_PIXELS, MAX_TOKENS, ImageGeometry
from wall_edge.bundle.manifest import (
    DIGEST,
    FORMAT_VERSION,
    GOLDENS,
    HEAD_TOKENS,
    MANIFEST,
    MAX_HORIZON,
    TOKENIZER,
    FamilyName,
    KeysValues,
    Manifest,
    Source,
    Tolerance,
)
from wall_edge.bundle.placement import put_in_place, replaced_name, require_replaceable, write_manifest
from wall_edge.bundle.prompt_style import ActionSpace, Wording
from wall_edge.bundle.quantization import CalibrationRecord, FamilyLoss, Sensitivity
from wall_edge.bundle.reader import Bundle, file_digest
from wall_edge.bundle.second_opinion import SecondOpinion, describe_opinion
from wall_edge.bundle.state_text import MAX_BINS, StateText
from wall_edge.bundle.time_grid import MAX_STEPS, TimeSchedule, check_grid

__all__ = [
    "DIGEST",
    "FAST_TOKENIZER",
    "FORMAT_VERSION",
    "GOLDENS",
    "HEAD_TOKENS",
    "INT8",
    "MANIFEST",
    "MAX_BINS",
    "MAX_EXPORT_TOKENS",
    "MAX_FAST_TOKENS",
    "MAX_HORIZON",
    "MAX_PIXELS",
    "MAX_STEPS",
    "MAX_SUBGOAL_TOKENS",
    "MAX_TOKENS",
    "ONNX_TYPES",
    "PRECISIONS",
    "ROTATION_SIZES",
    "TOKENIZER",
    "ActionKind",
    "ActionSpace",
    "Bundle",
    "CalibrationRecord",
    "Degree",
    "ElementType",
    "Embodiment",
    "FamilyLoss",
    "FamilyName",
    "FastActions",
    "FastSettings",
    "FlowActions",
    "GraphSpec",
    "ImageGeometry",
    "KeysValues",
    "Layout",
    "Manifest",
    "Part",
    "Pose",
    "Reference",
    "RotationForm",
    "SecondOpinion",
    "Sensitivity",
    "Source",
    "StateText",
    "TensorSpec",
    "TimeSchedule",
    "Tolerance",
    "Unit",
    "Wording",
    "check_grid",
    "describe_opinion",
    "file_digest",
    "joint_layout",
    "kind_of_graphs",
    "put_in_place",
    "replaced_name",
    "require_flow",
    "require_goldens",
    "require_replaceable",
    "require_steps",
    "session_capacity",
    "unchecked_stage",
    "unreferred",
    "write_manifest",
]
