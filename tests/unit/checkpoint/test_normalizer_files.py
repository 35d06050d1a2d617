"""Statistics beside the weights: pickles of which no code runs, quantiles in JSON."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_export.checkpoint.normalizers.norm_stats import read_norm_stats
from wall_edge_export.checkpoint.normalizers.tables import MinDelta, agreed, from_vectors
from wall_edge_export.checkpoint.normalizers.torch_archive import LARGEST, MOST_OPERATIONS
from wall_edge_export.checkpoint.normalizers.torch_pickle import read_pickle

from wall_edge.errors import CheckpointError

QUANTILES = {"q01": [0.0, -1.0], "q99": [1.0, 3.0]}
STATS = {"action": QUANTILES, "observation.state": QUANTILES}
Json = Any


class Wallx(torch.nn.Module):
    """What Wall-X 1.1 saves the state of: two dictionaries of parameters by robot."""

    def __init__(self, robots: dict[str, tuple[list[float], list[float]]]) -> None:
        super().__init__()
        for which, name in enumerate(("min", "delta")):
            entries = {
                robot: torch.nn.Parameter(torch.tensor(values[which]), requires_grad=False)
                for robot, values in robots.items()
            }
            setattr(self, name, torch.nn.ParameterDict(entries))


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as error:
        read()
    message = str(error.value)
    assert "\n" not in message
    assert "expected" in message
    return message


class TestPickles:
    def test_what_wallx_saves(self, tmp_path: Path) -> None:
        path = tmp_path / "normalizer_action.pth"
        module = Wallx({"x2_normal": ([-1.0, 0.25], [2.0, 0.5]), "DobbE": ([0.0], [1.0])})
        torch.save(module.state_dict(), path)
        vectors = read_pickle(path)
        assert set(vectors) == {"min.x2_normal", "delta.x2_normal", "min.DobbE", "delta.DobbE"}
        np.testing.assert_array_equal(vectors["min.x2_normal"], [-1.0, 0.25])
        assert vectors["delta.DobbE"].dtype == np.float64

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
    def test_every_type_of_float(self, tmp_path: Path, dtype: torch.dtype) -> None:
        path = tmp_path / "normalizer_action.pth"
        torch.save({"min.arm": torch.nn.Parameter(torch.tensor([0.5, -2.0], dtype=dtype))}, path)
        np.testing.assert_array_equal(read_pickle(path)["min.arm"], [0.5, -2.0])

    @pytest.mark.parametrize("call", ["reduce", "old", "stack", "inst", "build"])
    def test_no_code_runs(self, tmp_path: Path, call: str) -> None:
        """The marker that each of them would write does not appear; that they would is shown first."""
        marker, path = tmp_path / "marker", tmp_path / "normalizer_action.pth"
        command = f"touch {marker}"
        write_archive(path, hostile(call, command))
        with zipfile.ZipFile(path) as archive:
            pickle.loads(archive.read("archive/data.pkl"))
        assert marker.exists()
        marker.unlink()
        message = refused(lambda: read_pickle(path))
        assert not marker.exists()
        assert str(path) in message

    def test_code_behind_a_name_that_torch_itself_would_take(self, tmp_path: Path) -> None:
        """torch's restricted reader makes bytearrays: one number would ask for a terabyte."""
        path = tmp_path / "normalizer_action.pth"
        write_archive(path, b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x7f\x85R.")
        assert "builtins.bytearray" in refused(lambda: read_pickle(path))

    def test_a_plain_pickle_without_an_archive(self, tmp_path: Path) -> None:
        marker, path = tmp_path / "marker", tmp_path / "normalizer_action.pth"
        path.write_bytes(hostile("reduce", f"touch {marker}"))
        refused(lambda: read_pickle(path))
        assert not marker.exists()

    def test_a_pickle_of_torch_before_1_6(self, tmp_path: Path) -> None:
        path = tmp_path / "normalizer_action.pth"
        torch.save({"min.arm": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
        assert "torch.save" in refused(lambda: read_pickle(path))

    @pytest.mark.parametrize(
        "content",
        [
            {"min.arm": torch.ones(2, dtype=torch.int64)},
            {"min.arm": torch.ones(2, dtype=torch.bool)},
            {"min.arm": torch.ones(2, dtype=torch.complex64)},
            {"min.arm": torch.ones(1, 2)},
            {"min.arm": torch.tensor(1.0)},
            {"min.arm": torch.ones(0)},
            {"min.arm": torch.ones(257)},
            {"min.arm": torch.ones(1).expand(1 << 40)},
            {"min.arm": torch.ones(2).to_sparse()},
            {"min.arm": torch.ones(2, device="meta")},
            {"min.arm": [1.0, 2.0]},
            {"min": {"arm": torch.ones(2)}},
            {7: torch.ones(2)},
            [torch.ones(2)],
            torch.ones(2),
            OrderedDict(a=OrderedDict(b=OrderedDict())),
        ],
    )
    def test_anything_but_vectors_of_floats(self, tmp_path: Path, content: object) -> None:
        path = tmp_path / "normalizer_action.pth"
        torch.save(content, path)
        refused(lambda: read_pickle(path))

    def test_a_pickle_that_nests(self, tmp_path: Path) -> None:
        path = tmp_path / "normalizer_action.pth"
        write_archive(path, b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
        refused(lambda: read_pickle(path))

    def test_a_key_that_takes_hours_to_hash(self, tmp_path: Path) -> None:
        path = tmp_path / "normalizer_action.pth"
        write_archive(path, b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"q\x01}h\x01K\x01s.")
        assert "uses a tuple twice" in refused(lambda: read_pickle(path))

    @pytest.mark.parametrize(
        "content",
        [
            b")" + b"\x85" * 1_000_000,
            b"\x8f" * 4_000_000,
            b"}" * 4_000_000,
            b"}("
            + b"".join(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") + b"N" for n in range(40_000)),
        ],
        ids=["a tuple as deep as the stack", "a gigabyte of sets", "dictionaries", "keys of one hash"],
    )
    def test_more_operations_than_tensors_take(self, tmp_path: Path, content: bytes) -> None:
        """Sets took 945 MB and 15 s, 40,000 keys of one hash 18 s."""
        path = tmp_path / "normalizer_action.pth"
        write_archive(path, b"\x80\x02" + content + b".")
        began = time.process_time()
        assert f"more than {MOST_OPERATIONS} operations" in refused(lambda: read_pickle(path))
        assert time.process_time() - began < 3

    @pytest.mark.parametrize("prefix", ["", "x" * 1000])
    @pytest.mark.parametrize("name", ["archive/DATA.PKL", "archive/Data.pkl", "archive/data.PKL"])
    def test_a_pickle_that_only_torch_would_find(self, tmp_path: Path, name: str, prefix: str) -> None:
        """Its reader tells no names by their case: what was looked through was another pickle."""
        path = tmp_path / "normalizer_action.pth"
        write_archive(path, b"\x80\x02cbuiltins\nbytearray\n\x8a\x04\x00\x00\x00\x30\x85R.", name)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/x.pkl", b"\x80\x02}.")
        path.write_bytes(prefix.encode() + path.read_bytes())
        assert "torch.save" in refused(lambda: read_pickle(path))

    def test_what_was_looked_through_is_what_torch_gets(self, tmp_path: Path) -> None:
        """A small archive in front of another: zipfile reads the last, and torch by its offsets the first."""
        first, second = tmp_path / "first", tmp_path / "normalizer_action.pth"
        torch.save({"min.arm": torch.tensor([7.0])}, first)
        torch.save({"min.arm": torch.tensor([1.0])}, second)
        second.write_bytes(first.read_bytes() + second.read_bytes())
        np.testing.assert_array_equal(read_pickle(second)["min.arm"], [1.0])

    @pytest.mark.parametrize("byteorder", ["little", "big"])
    @pytest.mark.parametrize("count", [0, 1, 3, 1 << 24, 1 << 40, 1 << 62, (1 << 62) + 1, -2])
    def test_a_storage_of_another_size_than_its_record(
        self, tmp_path: Path, count: int, byteorder: str
    ) -> None:
        """Of two numbers in float32: what lies behind them is somebody else's memory."""
        path = tmp_path / "normalizer_action.pth"
        write_archive(path, tensor(count), byteorder=byteorder, records={"data/0": bytes(8)})
        assert f"storage 0 of {count} numbers in a record of 8 bytes" in refused(lambda: read_pickle(path))
        write_archive(path, tensor(2), byteorder=byteorder, records={"data/0": bytes(8)})
        np.testing.assert_array_equal(read_pickle(path)["min.arm"], [0.0, 0.0])

    @pytest.mark.parametrize(
        ("size", "stride", "offset"),
        [(2, 1, 1), (3, 1, 0), (1 << 28, 1, 0), (2, 1 << 40, 0), (2, -1, 1), (2, 1, -1), (1 << 62, 4, 0)],
    )
    def test_a_view_beyond_its_storage(self, tmp_path: Path, size: int, stride: int, offset: int) -> None:
        path = tmp_path / "normalizer_action.pth"
        write_archive(path, tensor(2, size, stride, offset), records={"data/0": bytes(8)})
        refused(lambda: read_pickle(path))

    @pytest.mark.parametrize(
        "pid",
        [b"X\x07\x00\x00\x00storageQ", b"K\x00Q", b"(tQ", b"PX\n", b"(NNNNNtQ", b"N(NNNNtQ", b"Q"],
    )
    def test_an_id_that_is_no_storage_s(self, tmp_path: Path, pid: bytes) -> None:
        path = tmp_path / "normalizer_action.pth"
        write_archive(path, b"\x80\x02}X\x07\x00\x00\x00min.arm" + pid + b"s.")
        refused(lambda: read_pickle(path))

    def test_a_storage_that_tensors_share(self, tmp_path: Path) -> None:
        """As ``torch.save`` writes views: their storage's record is said once, and recalled."""
        path, whole = tmp_path / "normalizer_action.pth", torch.arange(6.0)
        torch.save({"min.a": whole[:2], "min.b": whole[1::2], "delta.a": whole[4:]}, path)
        read = read_pickle(path)
        np.testing.assert_array_equal(read["min.b"], [1.0, 3.0, 5.0])
        np.testing.assert_array_equal(read["delta.a"], [4.0, 5.0])

    def test_a_hundred_robots(self, tmp_path: Path) -> None:
        path = tmp_path / "normalizer_action.pth"
        torch.save(Wallx({f"arm{i}": ([0.0] * 26, [1.0] * 26) for i in range(100)}).state_dict(), path)
        assert len(read_pickle(path)) == 200

    def test_sizes(self, tmp_path: Path) -> None:
        path = tmp_path / "normalizer_action.pth"
        path.write_bytes(b"PK" + bytes(LARGEST - 1))
        assert "at most" in refused(lambda: read_pickle(path))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(LARGEST + 1))
        assert path.stat().st_size < 10_000
        assert "inflated" in refused(lambda: read_pickle(path))

    def test_a_pipe_a_folder_and_a_cut(self, tmp_path: Path) -> None:
        whole, pipe = tmp_path / "whole.pth", tmp_path / "pipe.pth"
        torch.save(Wallx({"arm": ([0.0], [1.0])}).state_dict(), whole)
        os.mkfifo(pipe)
        assert "a pipe or a device" in refused(lambda: read_pickle(pipe))
        assert "a directory" in refused(lambda: read_pickle(tmp_path))
        content = whole.read_bytes()
        for length in range(0, len(content), 97):
            whole.write_bytes(content[:length])
            refused(lambda: read_pickle(whole))

    @given(st.integers(0, 2000), st.integers(0, 255))
    def test_one_byte_off_is_an_error_or_numbers(
        self, tmp_path_factory: pytest.TempPathFactory, at: int, value: int
    ) -> None:
        path = tmp_path_factory.mktemp("byte") / "normalizer_action.pth"
        torch.save(Wallx({"arm": ([0.0, 1.0], [1.0, 2.0])}).state_dict(), path)
        content = bytearray(path.read_bytes())
        content[at % len(content)] = value
        path.write_bytes(content)
        with contextlib.suppress(CheckpointError):
            assert all(vector.ndim == 1 for vector in read_pickle(path).values())


def hostile(call: str, command: str) -> bytes:
    """A pickle that runs ``command`` when it is loaded as pickles are, by each way that pickles have."""
    text = command.encode()
    short = b"U" + bytes([len(text)]) + text
    return {
        "reduce": b"\x80\x02cposix\nsystem\n" + short + b"\x85R.",
        "old": b"cos\nsystem\n(S'" + text + b"'\ntR.",
        "stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c" + bytes([len(text)]) + text + b"\x85R.",
        "inst": b"(S'" + text + b"'\nios\nsystem\n.",
        "build": b"\x80\x02}(U\x01acposix\nsystem\n" + short + b"\x85Ru.",
    }[call]


def tensor(count: int, size: int = 2, stride: int = 1, offset: int = 0) -> bytes:
    """A pickle of ``{"min.arm": tensor}``, whose float32 storage ``data/0`` is said to hold ``count``."""

    def number(value: int) -> bytes:
        return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    storage = text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(count)
    view = number(offset) + number(size) + b"\x85" + number(stride) + b"\x85"
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    made = b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQ" + view + hooks + b"tR"
    return b"\x80\x02}" + text("min.arm") + made + b"s."


def write_archive(
    path: Path,
    content: bytes,
    name: str = "archive/data.pkl",
    byteorder: str = "little",
    records: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """An archive as torch.save writes it, around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
        archive.writestr("archive/byteorder", byteorder)
        for record, values in records.items():
            archive.writestr(f"archive/{record}", values)
        archive.writestr("archive/version", b"3\n")


class TestQuantiles:
    def write(self, folder: Path, content: Json) -> Path:
        path = folder / "norm_stats.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    @pytest.mark.parametrize(
        ("stats", "keys"),
        [
            (STATS, {}),
            (STATS, {"action": "action", "propri": "observation.state"}),
            ({"actions": QUANTILES, "state": QUANTILES}, {}),
            ({"a": QUANTILES, "s": QUANTILES, "action": {}}, {"action": "a", "propri": "s"}),
            ({**STATS, "mean_of_all": {"mean": [1.0]}}, {}),
        ],
        ids=["Wall-X", "as mapped", "openpi", "other names", "more"],
    )
    def test_min_is_q01_and_delta_what_is_between(self, tmp_path: Path, stats: Json, keys: Json) -> None:
        """Upstream's ``load_norm_stats``."""
        table = read_norm_stats(self.write(tmp_path, {"norm_stats": stats}), keys)[None]
        for kind in ("action", "propri"):
            np.testing.assert_array_equal(table[kind].low, [0.0, -1.0])
            np.testing.assert_array_equal(table[kind].delta, [1.0, 4.0])

    def test_by_robot(self, tmp_path: Path) -> None:
        robots = read_norm_stats(self.write(tmp_path, {"norm_stats": {"left": STATS, "right": STATS}}), {})
        assert set(robots) == {"left", "right"}

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("", "valid JSON"),
            ("[]", "holds a list"),
            ("[" * 100_000, "nested too deeply"),
            ({}, "no norm_stats"),
            ({"norm_stats": []}, "no norm_stats"),
            ({"norm_stats": {"action": QUANTILES}}, "none of observation.state"),
            ({"norm_stats": {**STATS, "actions": QUANTILES}}, "action and actions of"),
            ({"norm_stats": {**STATS, "action": {"q01": [0.0]}}}, "action.q99 is missing"),
            ({"norm_stats": {**STATS, "action": {"q01": [0.0], "q99": [1.0, 2.0]}}}, "q99 is '2 numbers'"),
            ({"norm_stats": {**STATS, "action": {"q01": [], "q99": []}}}, "q01 is '0 numbers'"),
            ({"norm_stats": {**STATS, "action": {"q01": ["0"], "q99": [1]}}}, r"q01\[0\]"),
            ({"norm_stats": {**STATS, "action": {"q01": [[0]], "q99": [[1]]}}}, r"q01\[0\]"),
            ({"norm_stats": {**STATS, "action": {"q01": [0.0] * 300, "q99": [1.0] * 300}}}, "300 numbers"),
            (
                '{"norm_stats": {"action": {"q01": [NaN], "q99": [1]}, "state": {"q01": [0], "q99": [1]}}}',
                "q01",
            ),
            (
                '{"norm_stats": {"action": {"q01": [1e999], "q99": [1]}, "state": {"q01": [0], "q99": [1]}}}',
                "q01",
            ),
            ('{"norm_stats": {}, "norm_stats": {}}', "twice"),
            ({"norm_stats": {"robot": 7}}, "norm_stats.robot is 7"),
        ],
    )
    def test_what_cannot_be_meant(self, tmp_path: Path, content: Json, words: str) -> None:
        path = self.write(tmp_path, content)
        with pytest.raises(CheckpointError, match=words):
            read_norm_stats(path, {})
        assert str(path) in refused(lambda: read_norm_stats(path, {}))

    @pytest.mark.parametrize(
        ("robots", "words"), [(9_000, "1 numbers; expected 26"), (12_000, "at most 1048576")]
    )
    def test_as_many_robots_as_a_file_may_hold(self, tmp_path: Path, robots: int, words: str) -> None:
        """33,000 took 15 s: files of settings may be of a megabyte."""
        one = {"q01": [0.0], "q99": [1.0]}
        stats = {f"r{number}": {"action": one, "state": one} for number in range(robots)}
        path, began = self.write(tmp_path, {"norm_stats": stats}), time.process_time()
        assert words in refused(lambda: read_norm_stats(path, {}, {"action": {26}, "propri": {26}}))
        assert time.process_time() - began < 5

    def test_a_key_that_config_yml_says_and_the_file_has_not(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, {"norm_stats": STATS})
        assert "data.key_mappings of config.yml says act" in refused(
            lambda: read_norm_stats(path, {"action": "act"})
        )

    def test_another_width_than_the_models(self, tmp_path: Path) -> None:
        """14 where 20 are named: three angles, of which upstream makes six numbers (``rotation_layout``)."""
        path = self.write(tmp_path, {"norm_stats": STATS})
        assert read_norm_stats(path, {}, {"action": {2, 6}, "propri": {2}})
        message = refused(lambda: read_norm_stats(path, {}, {"action": {2}, "propri": {3, 6}}))
        assert "observation.state: 2 numbers; expected 3 or 6" in message


def place(where: str, low: list[float], delta: list[float]) -> MinDelta:
    return MinDelta(where, np.array(low), np.array(delta))


class TestAgreement:
    @pytest.mark.parametrize(
        ("low", "delta", "difference"),
        [
            ([0.0, 1.0], [1.0, 2.0], ""),
            ([0.0, 1.0 + 9e-6], [1.0, 2.0], ""),
            ([0.0, 1.0001], [1.0, 2.0], "min[1] is 1 and 1.0001"),
            ([0.0, 1.0], [1.5, 2.0], "delta[0] is 1 and 1.5"),
            ([0.0, 1.0, 0.0], [1.0, 2.0, 1.0], ""),
            ([0.0, 1.0, 0.5], [1.0, 2.0, 1.0], "min[2] is 0 and 0.5"),
            ([0.0, 1.0, 0.0], [1.0, 2.0, 0.0], "delta[2] is 1 and 0"),
            ([0.0], [1.0], "min[1] is 1 and 0"),
            ([0.0, float("nan")], [1.0, 2.0], "min[1] is 1 and nan"),
        ],
    )
    def test_two_places(self, low: list[float], delta: list[float], difference: str) -> None:
        one, other = place("one", [0.0, 1.0], [1.0, 2.0]), place("other", low, delta)
        assert one.differs(other) == difference

    def test_both_are_named(self) -> None:
        tables = [
            {"arm": {"action": place(where, [at], [1.0])}} for where, at in (("one", 0.0), ("other", 1.0))
        ]
        message = refused(lambda: agreed(tables, "arm"))  # type: ignore[arg-type]
        assert message.startswith("one and other differ: min[0] is 0 and 1")

    def test_a_file_without_a_name_is_of_whoever_is_asked_for(self) -> None:
        same = {kind: place(kind, [0.0], [1.0]) for kind in ("action", "propri")}
        assert agreed([{None: same}], "arm") == same
        assert agreed([{"arm": same}, {None: same}], "arm") == same
        other = {**same, "propri": place("file", [0.5], [1.0])}
        assert "propri and file differ" in refused(lambda: agreed([{"arm": same}, {None: other}], "arm"))

    def test_each_kind_from_wherever_it_is(self) -> None:
        action, propri = place("a", [0.0], [1.0]), place("p", [0.0], [1.0])
        assert agreed([{"arm": {"action": action}}, {"arm": {"propri": propri}}], "arm")["propri"] is propri
        assert "no normalizer_propri of arm" in refused(lambda: agreed([{"arm": {"action": action}}], "arm"))

    @pytest.mark.parametrize(
        ("named", "words"),
        [
            ([("action", "min", "arm", np.zeros(2))], "action.*.arm: min; expected min and delta"),
            (
                [("action", "min", "arm", np.zeros(2)), ("action", "delta", "arm", np.ones(3))],
                "normaliser min of shape [2], delta [3]",
            ),
            ([("speech", "min", "arm", np.zeros(2)), ("speech", "delta", "arm", np.ones(2))], "speech"),
            ([("action", "mean", "arm", np.zeros(2)), ("action", "delta", "arm", np.ones(2))], "delta, mean"),
        ],
    )
    def test_halves_of_a_pair(self, named: Any, words: str) -> None:
        assert words in refused(lambda: from_vectors("folder", named))
