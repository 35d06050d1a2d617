"""Where a checkpoint comes from: a folder, or a repository of the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from wall_edge.errors import CheckpointError, ConfigError

_HUB_ID = re.compile(r"(?P<repository>[\w][\w.-]*/[\w][\w.-]*)(@(?P<revision>[\w][\w./-]*))?")
_SETTINGS = ("*.json", "config.yml", "config.yaml")
_PATTERNS = ("*.safetensors", "normalizer_action.pth", "normalizer_propri.pth", *_SETTINGS)
"""No code is ever fetched, and of pickles only the two of which nothing but numbers is read."""


def resolve_checkpoint(location: str, *, weights: bool = True) -> Path:
    """The folder of ``location``: a path that exists, else a Hub id, fetched into the Hub's cache.

    Without ``weights``, its settings and its tokenizer alone.
    """
    path, hub_id = local_path(location), _HUB_ID.fullmatch(location)
    if path.exists() or hub_id is None:
        return path  # Checkpoint says what is wrong with a path
    return _fetch(hub_id["repository"], hub_id["revision"], _PATTERNS if weights else _SETTINGS)


def local_path(location: str) -> Path:
    """``location`` as a path; ``~`` of somebody whom this machine does not know stays as it is."""
    return Path(os.path.expanduser(location))  # noqa: PTH111 - Path's own raises for such a name


def may_be_fetched(location: str) -> bool:
    """Whether nothing is there under this name, and the Hub may have it."""
    return not local_path(location).exists() and _HUB_ID.fullmatch(location) is not None


def _fetch(repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ConfigError(
            f"{repository}: no such folder, and fetching it from the Hugging Face Hub needs {error.name}",
            expected="a folder, or the Hub's package",
            fix="pip install 'wall-edge[hub]'",
        ) from error
    name = f"{repository}@{revision}" if revision else repository
    try:
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=list(patterns), library_name="wall-edge"
        )
    except errors.GatedRepoError as error:
        raise _refused(
            name, "needs its terms accepted", "accept them on its page, then 'hf auth login'"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise _refused(name, "is not there, or private", "check the name, or 'hf auth login'") from error
    except errors.RevisionNotFoundError as error:
        raise _refused(name, "has no such revision", "name a branch, a tag or a commit") from error
    except errors.LocalEntryNotFoundError as error:
        raise _refused(name, "is out of reach and not in the cache", _elsewhere(repository)) from error
    except Exception as error:  # the Hub's client lets through what its transport raises
        reason = f"could not be fetched ({type(error).__name__})"
        raise _refused(name, reason, _elsewhere(repository)) from error
    return Path(folder)


def _elsewhere(repository: str) -> str:
    return f"with a network: 'hf download {repository}', then pass the folder that it prints"


def _refused(name: str, what: str, fix: str) -> CheckpointError:
    return CheckpointError(
        f"{name}: no such folder here, and on the Hugging Face Hub it {what}",
        expected="a checkpoint's folder or Hub id",
        fix=fix,
    )
