"""A short run of ``benchmarks/fuzz/reader_fuzz.py``, and that it can find something."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import random
import zipfile
from pathlib import Path

import pytest

import benchmarks.fuzz.fuzz_checkpoints as fuzz_checkpoints
import benchmarks.fuzz.fuzz_readers as fuzz_readers
import benchmarks.fuzz.reader_fuzz as reader_fuzz
from benchmarks.fuzz.fuzz_pickles import changed_pickle
from wall_edge.errors import ConfigError

QUICK = ("robot", "session", "tokenizer", "fast", "recipe", "events", "latch", "statistics", "later-settings")


@pytest.mark.parametrize("name", QUICK)
def test_h16_a_reader_succeeds_or_says_one_line(name: str, tmp_path: Path) -> None:
    """H4, H13, H16: no traceback, no hang, no great memory."""
    reader = next(reader for reader in fuzz_readers.READERS if reader.name == name)
    report = reader_fuzz.run(reader, 7, 0, 60, tmp_path)
    assert report.cases == 60
    assert not report.findings


def write(folder: Path) -> None:
    (folder / "a.json").write_text('{"size": 3}')


def careless(folder: Path) -> None:
    """Raises whatever comes, but for one good line."""
    text = (folder / "a.json").read_text()
    if text == '{"size": 3}':
        return
    if '"size"' in text:
        raise ConfigError("size")
    bytearray(int(text[-40:], 16))


def modest(folder: Path) -> None:
    if (folder / "a.json").read_bytes() != b'{"size": 3}':
        raise ConfigError("size")


def greedy(folder: Path) -> None:
    if (folder / "a.json").read_bytes() != b'{"size": 3}':
        held = bytearray(1 << 30)
        held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])


def test_the_fuzz_finds_tracebacks_and_memory(tmp_path: Path) -> None:
    """A finding has its exception, its place and its cases; a worker that grew is replaced."""
    made = {"make": write, "files": {"a.json": "json"}}
    found = reader_fuzz.run(fuzz_readers.Reader("careless", read=careless, **made), 0, 0, 60, tmp_path)
    assert found.cases == 60
    assert found.refusals
    assert any("ValueError at test_reader_fuzz.py" in what for what in found.findings)
    found = reader_fuzz.run(fuzz_readers.Reader("greedy", read=greedy, **made), 0, 0, 3, tmp_path)
    assert sum(map(len, found.findings.values())) >= 2
    assert all(what.startswith("over memory") for what in found.findings)


def test_memory_of_the_parent_is_no_finding(tmp_path: Path) -> None:
    """In CI a worker was blamed for the gigabyte that the suite's own process had come to hold."""
    held = bytearray(reader_fuzz.BYTES + (1 << 28))
    held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
    made = {"make": write, "files": {"a.json": "json"}}
    found = reader_fuzz.run(fuzz_readers.Reader("modest", read=modest, **made), 0, 0, 20, tmp_path)
    assert found.cases == 20
    assert not found.findings
    assert found.most_bytes < 1 << 28


class ThreadPool:
    """Garbage of the parent, as an engine's session is: its end in a forked process waits for ever."""

    def __init__(self) -> None:
        self.owner, self.itself = os.getpid(), self

    def __del__(self) -> None:
        if os.getpid() != self.owner:
            os._exit(3)


def collecting(folder: Path) -> None:
    gc.collect()
    if (folder / "a.json").read_bytes() != b'{"size": 3}':
        raise ConfigError("size")


def test_garbage_of_the_parent_is_no_finding(tmp_path: Path) -> None:
    """In CI a worker hung in the end of a thread pool that an earlier test had left."""
    gc.disable()
    try:
        ThreadPool()
        made = {"make": write, "files": {"a.json": "json"}}
        reader = fuzz_readers.Reader("collecting", read=collecting, **made)
        (tmp_path / reader.name).mkdir()
        (tmp_path / reader.name / "a.json").write_text('{"size": 3}')
        report = reader_fuzz.Report()
        assert reader_fuzz._batch(reader, 0, 0, 3, tmp_path / reader.name, report) == 3
    finally:
        gc.enable()
    assert not report.findings


def test_h16_damaged_statistics_of_a_parquet_file_end_no_process(tmp_path: Path) -> None:
    """H16: asked for such a column's metadata, pyarrow aborted."""
    reader = next(reader for reader in fuzz_readers.READERS if reader.name == "dataset-v3.0")
    assert not reader_fuzz.run(reader, 21, 2362, 1, tmp_path).findings


def test_changed_pickles_get_past_their_checksums(tmp_path: Path) -> None:
    """A reader that stops at a checksum sees nothing of what is inside."""
    fuzz_checkpoints.statistics(tmp_path)
    content = (tmp_path / "normalizer_action.pth").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".pkl"))
        pickle = archive.read(name)
    changed, other = 0, set()
    for seed in range(150):
        with contextlib.suppress(
            TypeError, ValueError
        ):  # torch holds no such array: its bytes are changed instead
            made = changed_pickle(random.Random(seed), content)
            with zipfile.ZipFile(io.BytesIO(made)) as archive:
                assert archive.testzip() is None
                other |= {archive.read(member) for member in archive.namelist() if member.endswith(".pkl")}
            changed += 1
    assert changed > 100
    assert len(other - {pickle}) > 50
