"""A checkpoint's name: a folder that exists, else a repository of the Hugging Face Hub."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants, errors
from wall_edge_export.checkpoint.checkpoint import Checkpoint, open_checkpoint
from wall_edge_export.checkpoint.hub import resolve_checkpoint

from wall_edge.errors import CheckpointError, ConfigError


class Response:
    """What the Hub's errors are made from."""

    status_code, headers, request = 404, {}, None


def refused_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> str:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError) as refused:
        resolve_checkpoint("x-square-robot/wall-oss-flow@main")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def hub_error(kind: type[errors.HfHubHTTPError]) -> Exception:
    return kind("404 Client Error\nsecond line", response=Response())  # type: ignore[arg-type]


def test_a_path_that_exists_is_a_folder(golden_case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(golden_case.parent.parent)
    assert resolve_checkpoint("cases/two_views") == Path("cases/two_views")
    assert resolve_checkpoint(str(golden_case)) == golden_case


@pytest.mark.parametrize("source", ["nowhere", "/no/where", "./a/b", "../a/b", "a/b/c", "a b/c", "", "a/"])
def test_what_cannot_be_a_hub_id_is_a_missing_folder(source: str) -> None:
    with pytest.raises(CheckpointError, match=r"no such (folder|file)"):
        open_checkpoint(source or "./nowhere")


@pytest.mark.parametrize(
    ("source", "repository", "revision"),
    [
        ("x-square-robot/wall-oss-flow", "x-square-robot/wall-oss-flow", None),
        ("me/policy@v1.0", "me/policy", "v1.0"),
        ("me/my.policy_2@refs/pr/3", "me/my.policy_2", "refs/pr/3"),
    ],
)
def test_only_weights_and_settings_are_fetched(
    source: str, repository: str, revision: str | None, golden_case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fetch(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(golden_case)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert Checkpoint(golden_case).config == open_checkpoint(source).config
    assert (asked["name"], asked["revision"]) == (repository, revision)
    pickles = ["normalizer_action.pth", "normalizer_propri.pth"]
    settings = ["*.json", "config.yml", "config.yaml"]
    assert asked["allow_patterns"] == ["*.safetensors", *pickles, *settings]


def test_the_home_of_somebody_unknown_is_no_folder() -> None:
    """It was a traceback: pathlib raises for a home that it does not find."""
    with pytest.raises(CheckpointError, match=r"~nobody-here/x: no such folder; .*; check the path"):
        open_checkpoint("~nobody-here/x")


def test_all_three_parts_may_be_on_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(name: str, **_: object) -> str:
        asked.append(name)
        return str(tmp_path / "empty")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    with pytest.raises(CheckpointError, match="no such folder"):
        open_checkpoint("a/policy", base="b/base", adapter="c/adapter")
    assert sorted(asked) == ["a/policy", "b/base", "c/adapter"]


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Hub's own client, told that there is no network, with an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError) as refused:
        resolve_checkpoint("x-square-robot/wall-oss-flow")
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith("x-square-robot/wall-oss-flow: no such folder here")
    assert "out of reach and not in the cache" in message
    assert "hf download x-square-robot/wall-oss-flow" in message


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (errors.RepositoryNotFoundError, "is not there, or private"),
        (errors.GatedRepoError, "needs its terms accepted"),
        (errors.RevisionNotFoundError, "has no such revision"),
        (errors.HfHubHTTPError, "could not be fetched (HfHubHTTPError)"),
    ],
)
def test_what_the_hub_refuses(
    kind: type[errors.HfHubHTTPError], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refused_with(hub_error(kind), monkeypatch)
    assert message.startswith("x-square-robot/wall-oss-flow@main: ")
    assert named in message


@pytest.mark.parametrize("error", [ConnectionError("reset"), TimeoutError(), OSError(28, "No space left")])
def test_what_the_network_does(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(error).__name__ in refused_with(error, monkeypatch)


def test_without_the_hubs_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ModuleNotFoundError("no", name="huggingface_hub")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"wall-edge\[hub\]"):
        resolve_checkpoint("x-square-robot/wall-oss-flow")
