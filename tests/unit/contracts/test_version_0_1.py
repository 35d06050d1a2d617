"""What version 0.1 wrote: its ROBOT.yaml files go on working, its bundles are refused by their version."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from wall_edge.bundle import Bundle
from wall_edge.config import (
    AsyncScheduler,
    EnsembleScheduler,
    RtcScheduler,
    SchedulerConfig,
    SyncScheduler,
    load_robot,
)
from wall_edge.errors import BundleError, ConfigError

OLD = Path(__file__).parent / "version_0_1"
TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop"


@pytest.mark.parametrize("name", ["robot.yaml", "drifting.yaml"])
def test_the_examples_say_what_they_said(name: str) -> None:
    """Today's drifting.yaml is four lines that extend robot.yaml; the old one says everything itself."""
    old, today = load_robot(OLD / name), load_robot(TABLETOP / name)
    assert replace(old, bundle=today.bundle) == today
    assert old.policy.scheduler == AsyncScheduler()


def with_policy(folder: Path, **settings: object) -> Path:
    data = yaml.safe_load((OLD / "robot.yaml").read_text())
    data["policy"] = {key: value for key, value in settings.items() if value is not ...}
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"scheduler": "rtc"}, RtcScheduler()),
        (
            {"scheduler": "rtc", "rtc_form": "jacobian", "rtc_max_guidance": 3},
            RtcScheduler(form="jacobian", max_guidance=3.0),
        ),
        ({"scheduler": "sync", "execute_steps": 6}, SyncScheduler(execute_steps=6)),
        ({"scheduler": "sync", "execute_steps": None}, SyncScheduler()),
        (
            {"scheduler": "ensemble", "ensemble_decay": 0.5, "rtc_form": "jacobian"},
            EnsembleScheduler(decay=0.5),
        ),
        ({"execute_steps": 6}, AsyncScheduler()),
        ({"scheduler": {"kind": "rtc", "form": "jacobian"}}, RtcScheduler(form="jacobian")),
        ({"scheduler": {"kind": "async"}}, AsyncScheduler()),
    ],
)
def test_schedulers_of_both_forms(
    tmp_path: Path, settings: dict[str, object], expected: SchedulerConfig
) -> None:
    assert load_robot(with_policy(tmp_path, **settings)).policy.scheduler == expected


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (
            {"scheduler": {"kind": "rtc"}, "rtc_form": "jacobian"},
            ["policy.rtc_form beside policy.scheduler", "{kind: rtc, form: …}", "remove rtc_form"],
        ),
        (
            {"scheduler": {"kind": "rct"}},
            ["policy.scheduler.kind is 'rct'", "'naive'", "did you mean 'rtc'?"],
        ),
        ({"scheduler": "rct", "rtc_form": "jacobian"}, ["policy.scheduler is 'rct'", "did you mean 'rtc'?"]),
        ({"scheduler": {"form": "jacobian"}}, ["policy.scheduler.kind is missing", "'sync' or 'async'"]),
        (
            {"scheduler": {"kind": "rtc", "decay": 1}},
            ["policy.scheduler.decay is not a known key", "kind, form, max_guidance"],
        ),
        (
            {"scheduler": {"kind": "rtc", "max_guidance": 1e9}},
            ["policy.scheduler.max_guidance", "at most 1000"],
        ),
        ({"scheduler": "async", "rtc_form": "jacobi"}, ["policy.rtc_form", "did you mean 'jacobian'?"]),
        ({"scheduler": 3}, ["policy.scheduler is 3", "'sync' or 'async'", "a mapping"]),
        ({"scheduler": None}, ["policy.scheduler is null", "a mapping"]),
    ],
)
def test_schedulers_that_are_refused(tmp_path: Path, settings: dict[str, object], parts: list[str]) -> None:
    path = with_policy(tmp_path, **settings)
    with pytest.raises(ConfigError) as caught:
        load_robot(path)
    assert "\n" not in str(caught.value)
    assert [part for part in (str(path), *parts) if part not in str(caught.value)] == []


def test_a_bundle_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Its graphs lack the step, the mask and the token: nothing of it can run, and it says so first."""
    content = (OLD / "manifest.yaml").read_bytes()
    (tmp_path / "manifest.yaml").write_bytes(content)
    (tmp_path / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.yaml\n")
    with pytest.raises(BundleError, match="format version 2; expected 5; export the bundle again"):
        Bundle(tmp_path)
