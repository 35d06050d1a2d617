"""Writing a bundle: it appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from wall_edge.atomic import sync
from wall_edge.bundle.manifest import DIGEST, MANIFEST, Manifest
from wall_edge.bundle.reader import file_digest
from wall_edge.errors import BundleError
from wall_edge.files import (
    YAML_BYTES,
    parse_yaml,
    read_bytes,
    shown,
)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.yaml`` and its digest; ``manifest.files`` must list all other files."""
    path = folder / MANIFEST
    path.write_text(yaml.safe_dump(_plain(asdict(manifest)), sort_keys=False, width=110))
    (folder / DIGEST).write_text(f"{file_digest(path)}  {MANIFEST}\n")


def require_replaceable(out: Path) -> None:
    """Raise :class:`BundleError` unless ``out`` is free, empty, or holds a bundle and nothing else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not _holds_only_a_bundle(out):
        raise BundleError(
            f"{out}: exists and is no bundle", expected="a new folder", fix="choose another --out"
        )


def _holds_only_a_bundle(folder: Path) -> bool:
    """Damaged or not, but with no file that an export did not write."""
    try:
        path = folder / MANIFEST
        text = read_bytes(path, BundleError, YAML_BYTES).decode(errors="replace")
        manifest = parse_yaml(text, shown(path), BundleError)
        names = {MANIFEST, DIGEST, *manifest["files"]}
        return "format_version" in manifest and {path.name for path in folder.iterdir()} <= names
    except (BundleError, OSError, KeyError, TypeError):
        return False


def put_in_place(work: Path, out: Path) -> None:
    """Give the finished folder ``work`` the name ``out``; an earlier bundle there is replaced."""
    old = replaced_name(work)
    shutil.rmtree(old, ignore_errors=True)  # an export that was killed right here left it
    if out.exists():
        out.rename(old)
    work.rename(out)
    sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def replaced_name(work: Path) -> Path:
    """What an earlier bundle is called while ``work`` takes its place."""
    return work.with_name(f"{work.name}.old")


def _plain(value: Any) -> Any:
    """Tuples as lists, so that plain YAML can hold them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
