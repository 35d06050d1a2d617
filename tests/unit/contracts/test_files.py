"""The one bounded way to read a file (H4, H13, H16, C1): what it refuses, in one line and at once."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from wall_edge.bundle.tokenizer import load_tokenizer
from wall_edge.errors import BundleError
from wall_edge.files import is_plain_name, parse_json, parse_yaml, read_arrays, read_bytes, read_text, shown


def refusal(call: object, *arguments: object) -> str:
    with pytest.raises(BundleError) as caught:
        call(*arguments, BundleError)  # type: ignore[operator]
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1000
    return text


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """H13: a FIFO would block for ever, /dev/zero would never end."""
    os.mkfifo(tmp_path / "fifo")
    assert "a pipe or a device" in refusal(read_bytes, tmp_path / "fifo")
    assert "a pipe or a device" in refusal(read_bytes, Path("/dev/zero"))
    assert "a directory" in refusal(read_bytes, tmp_path)
    assert "No such file" in refusal(read_bytes, tmp_path / "none")


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "x" * 5000])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    """H16: NUL, a lone surrogate, 5000 characters."""
    refusal(read_bytes, tmp_path / name)


def test_sizes_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 101)
    with pytest.raises(BundleError, match="101 bytes; expected at most 100; ask for less"):
        read_bytes(path, BundleError, 100, "ask for less")
    assert read_bytes(path, BundleError, 101) == b"x" * 101
    with pytest.raises(BundleError, match="more than 1 bytes"):  # says that it is empty
        read_bytes(Path("/proc/self/status"), BundleError, 1)


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    """C10: Windows' editors write one."""
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert read_text(path, BundleError) == "{}"
    path.write_bytes(b"\xff")
    assert "not UTF-8 at byte 0" in refusal(read_text, path)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (BOMB, "aliases expanded"),
        (BOMB.replace("[x", "{<<: {x: 1}, v: [x").replace("x]", "x]}"), "aliases expanded"),
        ("a: &a [*a]", "inside of what it stands for"),
        ("a: &a {b: *a}", "inside of what it stands for"),
        ("[" * 66 + "]" * 66, "nested deeper than 64"),
        ("[" * 100_000, "nested too deeply"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("a: 1:" + "59:" * 500 + "1", "a number of"),
        ("a: 2020-13-45", "malformed YAML"),
        ("a: !!binary é", "malformed YAML"),
        ("a: !!int ''", "malformed YAML"),
        ("a: {b: 1, b: 2}", "b appears twice"),
        ("a: 1\nb: 2\na: 3", "a appears twice"),
        ("? [1]\n: 2", "malformed YAML"),
    ],
)
def test_yaml_is_bounded(text: str, word: str) -> None:
    """H4, H16: alias bombs, depth, digits, dates, keys that stand twice."""
    assert word in refusal(parse_yaml, text, "robot.yaml")


def test_ordinary_yaml_and_its_aliases_are_read() -> None:
    text = "limits: &limits {lower: -1.5, upper: 1e3}\njoints: [*limits, {<<: *limits, upper: 2}]"
    assert parse_yaml(text, "robot.yaml", BundleError)["joints"] == [
        {"lower": -1.5, "upper": "1e3"},
        {"lower": -1.5, "upper": 2},
    ]
    assert parse_yaml("", "robot.yaml", BundleError) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ("9" * 5000, "5000 digits"),
        ('{"a": 1, "a": 2}', "a appears twice"),
        ("{", "valid JSON"),
        ("", "valid JSON"),
    ],
)
def test_json_is_bounded(text: str, word: str) -> None:
    """H4, H16."""
    assert word in refusal(parse_json, text, "config.json")


def test_arrays_are_no_larger_than_their_file(tmp_path: Path) -> None:
    """H16: short and pickled goldens, and headers that promise terabytes."""
    path = tmp_path / "goldens.npz"
    np.savez(path, a=np.arange(6.0).reshape(2, 3), words=np.array("touch"))
    read = read_arrays(path, BundleError)
    assert read["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert str(read["words"]) == "touch"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "not an npz" in refusal(read_arrays, path)
    np.savez(path, a=np.array([{}], dtype=object))
    assert "not an npz" in refusal(read_arrays, path)
    header = io.BytesIO()
    promise = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
    np.lib.format.write_array_header_1_0(header, promise)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header.getvalue() + b"\0" * 8)
    assert "not an npz" in refusal(read_arrays, path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * 10_000)
    with pytest.raises(BundleError, match="when inflated"):
        read_arrays(path, BundleError, 9_999)


def test_stored_padding_and_truncation_are_reset(tmp_path: Path) -> None:
    """C1: as transformers writes them after one padded call; prompts came out padded to 8."""
    stored = json.loads(
        (Path(__file__).parents[3] / "examples/tabletop/checkpoint/tokenizer.json").read_text()
    )
    stored["padding"] = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": 8,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "!",
    }
    stored["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(stored))
    text = "touch the red block. touch the red block."
    plain = Tokenizer.from_str(json.dumps(stored | {"padding": None, "truncation": None}))
    assert load_tokenizer(path, BundleError).encode(text).ids == plain.encode(text).ids
    assert Tokenizer.from_file(str(path)).encode(text).ids != plain.encode(text).ids


def test_values_in_messages_are_short_and_printable() -> None:
    """H14: control codes; H4: values shown shortened."""
    assert shown("a\x1b[31mb\n") == r"a\x1b[31mb\n"
    assert len(shown("x" * 10_000)) < 220
    assert len(shown(10**6000)) < 220
    assert shown("x\ud800") == r"x\ud800"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("left_arm", True),
        ("Kamera über Tisch 2", True),
        ("cam-high.v2", True),
        ("", False),
        (" a", False),
        ("a ", False),
        ("../../evil", False),
        ("left/arm", False),
        ("<|action|>", False),
        ("a\0b", False),
        ("a\ud800", False),
        ("a\x1b[1m", False),
        ("[/bold]", False),
        ("x" * 64, True),
        ("x" * 65, False),
    ],
)
def test_plain_names(name: str, plain: bool) -> None:
    """H1, H10: names go into file names, prompts and terminals."""
    assert is_plain_name(name) is plain


def test_plain_names_with_further_characters() -> None:
    assert is_plain_name("left/arm", also="/")
    assert not is_plain_name("/arm", also="/")
