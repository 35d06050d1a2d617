"""The comparison of two checkouts' figures, apart from measuring them."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import same_behaviour
from benchmarks.behaviour.checkout import Checkout, SideError
from benchmarks.behaviour.compare import MISSING, Difference, compare


def side(**figures: Any) -> dict[str, Any]:
    about = {"commit": "c0ffee", "machine": "one", "quick": False}
    return {"about": about, "sections": {"goldens": figures}}


def test_what_is_nested_is_compared_by_its_full_name() -> None:
    before = {"rtc": {"stages": [{"max_abs": 1e-7}, {"max_abs": 2e-7}]}, "ok": True}
    after = {"rtc": {"stages": [{"max_abs": 1e-7}, {"max_abs": 3e-7}]}, "ok": True}
    assert compare(before, after) == (3, [Difference("rtc.stages.1.max_abs", 2e-7, 3e-7)])


@pytest.mark.parametrize(
    ("before", "after"),
    [(0.1 + 0.2, 0.3), (1, True), (0, 0.0), (None, "None"), ([], {}), ([], [1]), (float("nan"), 0.0)],
)
def test_the_last_bit_and_the_type_count(before: Any, after: Any) -> None:
    assert compare({"x": before}, {"x": after})[1]
    assert compare({"x": before}, {"x": before})[1] == []


@pytest.mark.parametrize("before", [{"rows": {"sync": 1, "rtc": None}}, {"rows": {"rtc": None, "sync": 1}}])
def test_what_one_side_lacks_is_a_difference(before: dict[str, Any]) -> None:
    after = {"rows": {"sync": 1}}
    assert compare(before, after) == (2, [Difference("rows.rtc", None, MISSING)])
    assert compare(after, before) == (2, [Difference("rows.rtc", MISSING, None)])


def test_an_empty_list_is_not_a_missing_one() -> None:
    assert compare({"losses": [], "ok": True}, {"ok": True}) == (2, [Difference("losses", [], MISSING)])


def test_times_and_versions_are_left_out_wherever_they_are() -> None:
    before = {"export": {"bytes": 7, "times": {"seconds": 1.0}}, "opinion": [{"tools": {"pillow": "1"}}, 2]}
    after = {"export": {"bytes": 7, "times": {"seconds": 2.0, "more": 1}}, "opinion": [{}, 2]}
    count, differences = compare(before, after)
    assert (count, [one.name for one in differences]) == (3, ["opinion.0"])
    after["opinion"][0]["tools"] = {"pillow": "2"}
    after["export"]["times"] = {}
    assert compare(before, after)[1] == []


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> object:
    monkeypatch.setattr(sys, "argv", ["same_behaviour.py", *(str(word) for word in words)])
    with pytest.raises(SystemExit) as end:
        same_behaviour.main()
    return end.value.code


@pytest.mark.parametrize(("error", "code"), [(1e-7, 0), (2e-7, 1)])
def test_two_files_of_figures(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: float,
    code: int,
) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(side(text_logits=1e-7, times=3)))
    after.write_text(json.dumps(side(text_logits=error, times=4)))
    assert run(monkeypatch, "--before", before, "--after", after, "--only", "goldens") == code
    assert ("goldens.text_logits: 1e-07 -> 2e-07" in capsys.readouterr().out) is bool(code)
    assert run(monkeypatch, "--before", before, "--after", after, "--only", "goldens", "--json") == code
    assert len(json.loads(capsys.readouterr().out)["sections"]["goldens"]["differences"]) == code


@pytest.mark.parametrize("words", [["--quick"], ["--only", "goldens,eval"], ["--only", "golden"]])
def test_a_file_that_does_not_hold_what_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    path = tmp_path / "before.json"
    path.write_text(json.dumps(side(text_logits=1e-7)))
    assert run(monkeypatch, "--only", "goldens", *words, "--before", path, "--after", path) not in (0, 1)


def test_another_checkout_s_code_is_refused(tmp_path: Path) -> None:
    """A side without packages of its own would run those that are installed."""
    (folder := tmp_path / "side").mkdir()
    (work := tmp_path / "work").mkdir()
    (folder / "pyproject.toml").write_text('[project.entry-points."wall_edge.commands"]\nexport = "x:y"\n')
    with pytest.raises(SideError, match=r"was imported|exit code 1"):
        Checkout(folder, work, quick=True)


class Scripted:
    """A checkout of which ``broken`` sections cannot be measured."""

    def __init__(self, folder: Path, work: Path, *, quick: bool) -> None:
        self.broken = (folder / "broken").read_text().split()
        (self.folder, self.work, self.quick) = folder, work, quick

    def commit(self) -> str:
        return "c0ffee"


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """Its folder, and the sections that were measured."""
    measured: list[str] = []

    def section(name: str, side: Scripted) -> dict[str, Any]:
        measured.append(name)
        if name in side.broken:
            raise SideError(f"{name} failed")
        return {"figure": 1}

    monkeypatch.setattr(same_behaviour, "Checkout", Scripted)
    sections = {name: partial(section, name) for name in ("goldens", "demo")}
    monkeypatch.setattr(same_behaviour, "SECTIONS", sections)
    (folder := tmp_path / "side").mkdir()
    (folder / "broken").write_text("")
    return folder, measured


def test_saving_goes_on_where_it_failed(
    scripted: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A demo that a busy machine stopped costs the demo only, not the half hour before it."""
    (folder, measured), file = scripted, tmp_path / "before.json"
    (folder / "broken").write_text("demo")
    assert "demo failed" in str(run(monkeypatch, "--before", folder, "--save", file))
    assert measured == ["goldens", "demo"]
    (folder / "broken").write_text("")
    assert run(monkeypatch, "--before", folder, "--save", file, "--after", file) == 0
    assert measured == ["goldens", "demo", "demo"]


def test_a_section_that_fails_afterwards_is_a_difference(
    scripted: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder, _), file = scripted, tmp_path / "before.json"
    assert run(monkeypatch, "--before", folder, "--save", file, "--after", folder) == 0
    (folder / "broken").write_text("goldens")
    assert run(monkeypatch, "--before", file, "--after", folder) == 1
    assert "goldens.error: (missing) -> SideError: goldens failed" in capsys.readouterr().out
