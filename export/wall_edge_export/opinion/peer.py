"""The checkpoint's own tokenizer and image processor, run by transformers where it is installed.

Concrete classes, never ``Auto…``: no code from a checkpoint runs and nothing is fetched. transformers sees no
file of the checkpoint itself, only copies that were read within bounds and hold the settings that decide a
number: no ``auto_map``, no chat template, no path to another file.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wall_edge.errors import CheckpointError
from wall_edge.files import JSON_BYTES, read_bytes, read_json, shown
from wall_edge_export.checkpoint.weights import REDO

_OLDEST = (4, 57)
_PROCESSORS = (
    # From transformers 5 on the plain name is a class that needs torchvision.
    ("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl", "Qwen2VLImageProcessorPil"),
    ("transformers.models.qwen2_vl.image_processing_qwen2_vl", "Qwen2VLImageProcessor"),
)
_OF_THE_FAMILY = ("Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor")
_ADDED, _MAP, _TOKENIZER_CONFIG = "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"
_TOKEN_KEYS = (
    *("added_tokens_decoder", "add_prefix_space", "split_special_tokens"),
    *("additional_special_tokens", "extra_special_tokens"),
    *("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"),
)
"""What tokenizer_config.json may say about ids."""
DIFFERS = "its own processor, run by transformers, disagrees: please report this checkpoint's JSON files"
PREPROCESSOR, NESTED = "preprocessor_config.json", "processor_config.json"


class Unusable(Exception):
    """This transformers cannot open what the checkpoint holds; the text says why."""


@dataclass(frozen=True)
class Peer:
    """The classes of an installed transformers, and the packages' versions."""

    tokenizer_class: Any
    processor_class: Any
    versions: dict[str, str]


def installed() -> Peer | None:
    """None where transformers is not installed, or older than what this was tried with."""
    try:
        if _version() < _OLDEST:
            return None
        tokenizer = importlib.import_module("transformers").PreTrainedTokenizerFast
        processor = _processor_class()
    except (ImportError, RuntimeError):  # also where a package that it needs is of the wrong version
        return None
    importlib.import_module("transformers.utils.logging").set_verbosity_error()  # the export's own words
    packages = ("transformers", "tokenizers", "pillow")
    return Peer(tokenizer, processor, {name: metadata.version(name) for name in packages})


def _version() -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", metadata.version("transformers"))
    return tuple(int(part) for part in match.groups()) if match else (0,)


def _processor_class() -> Any:
    for module, name in _PROCESSORS:
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as missing:
            if missing.name != module:
                raise
    raise ImportError(_PROCESSORS[-1][0])


def checkpoint_tokenizer(peer: Peer, folder: Path) -> Any:
    """The tokenizer as transformers opens it, added tokens included. Raises Unusable, CheckpointError.

    By the general class: the references' transformers 4 take tokenizer.json as it is, but Qwen2Tokenizer of
    transformers 5 replaces its pre-tokenizer by one of its own.
    """
    with TemporaryDirectory(prefix="wall-edge-") as name:
        copy = Path(name)
        (copy / "tokenizer.json").write_bytes(
            read_bytes(folder / "tokenizer.json", CheckpointError, JSON_BYTES)
        )
        settings = _json(folder / _TOKENIZER_CONFIG) or {}
        token_settings = {key: value for key, value in settings.items() if key in _TOKEN_KEYS}
        token_settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        (copy / _TOKENIZER_CONFIG).write_text(json.dumps(token_settings))
        for extra in (_ADDED, _MAP):
            if (content := _json(folder / extra)) is not None:
                (copy / extra).write_text(json.dumps(content))
        return guarded(lambda: peer.tokenizer_class.from_pretrained(str(copy), local_files_only=True))


def processor_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """The image processor's settings by the file that holds them: transformers 4 and 5 have each their own.

    Raises CheckpointError on a file that is damaged.
    """
    settings = {}
    plain, nested = _json(folder / PREPROCESSOR), _json(folder / NESTED)
    if plain is not None:
        settings[PREPROCESSOR] = plain
    if nested is not None and isinstance(nested.get("image_processor"), dict):
        settings[NESTED] = nested["image_processor"]
    return settings


def checkpoint_processor(peer: Peer, settings: Mapping[str, Any], where: str) -> Any:
    """The image processor of these settings. Raises Unusable, or CheckpointError for another family's."""
    kind = settings.get("image_processor_type", _OF_THE_FAMILY[0])
    if not isinstance(kind, str) or not kind.startswith(_OF_THE_FAMILY):
        raise CheckpointError(
            f"{where}: image_processor_type is {shown(kind)}", expected=" or ".join(_OF_THE_FAMILY), fix=REDO
        )
    cls = peer.processor_class
    plain_settings = {
        key: value
        for key, value in settings.items()
        if not key.startswith("_")
        and not callable(getattr(cls, key, None))
        and key not in ("auto_map", "image_processor_type", "processor_class")
    }
    size = plain_settings.get("size")
    for key, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        # The plain class of transformers 4 overlooks ``size``; its fast one and transformers 5 do not.
        if isinstance(size, dict) and plain_settings.get(key) is None and size.get(edge) is not None:
            plain_settings[key] = size[edge]
    return guarded(lambda: cls.from_dict(plain_settings))


def guarded(call: Callable[[], Any]) -> Any:
    """What ``call`` gives. transformers raises anything on settings that it does not know: Unusable then."""
    try:
        return call()
    except BaseException as problem:  # also the PanicException of tokenizers
        if isinstance(problem, KeyboardInterrupt | SystemExit):
            raise
        raise Unusable(shown(f"{type(problem).__name__}: {problem}", 160)) from None


def _json(path: Path) -> dict[str, Any] | None:
    """A JSON object that a checkpoint may hold; None without the file."""
    if not path.exists():
        return None
    content = read_json(path, CheckpointError, fix=REDO)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: {type(content).__name__}", expected="a JSON object", fix=REDO)
    return content
