"""Fuzz every reader of files from elsewhere: ``reader_fuzz.py --reader all --cases 100000``.

Small valid files are changed in their bytes and in their structure (``fuzz_mutations.py``) and read in worker
processes (``fuzz_readers.py``). A reader may succeed, or raise one line of a WallEdgeError; a traceback, a
crash, more than 5 s or a worker that takes more than 600 MB on top of what it began with (a process of 1 GB,
torch and all) is a finding. Each is printed with the case that shows it again:
``--reader NAME --seed S --first CASE --cases 1``. The exit code is 1 on any.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fuzz.fuzz_mutations import clear, mutate, replace_file
from benchmarks.fuzz.fuzz_readers import READERS, Reader
from wall_edge.errors import WallEdgeError
from wall_edge.provenance import provenance

SECONDS, BYTES = 5.0, 600 << 20
DATA_BYTES = 4 << 30
KILL_AFTER_S = 20.0
"""Of wall clock: other programs may hold the processor while a case waits for it."""
LONGEST_LINE = 2000


@dataclass
class Report:
    """What became of a reader's cases; findings by kind and place, with the cases that show them."""

    cases: int = 0
    successes: int = 0
    refusals: int = 0
    slowest_s: float = 0.0
    most_bytes: int = 0
    """That a worker took on top of what it began with."""
    findings: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, case: int, outcome: str) -> None:
        self.cases += 1
        if outcome == "success":
            self.successes += 1
        elif outcome == "refusal":
            self.refusals += 1
        else:
            self.findings[outcome].append(case)


def run(reader: Reader, seed: int, first: int, cases: int, scratch: Path) -> Report:
    """Cases ``first`` to ``first + cases`` of a reader, in workers that are replaced when they die."""
    pristine = scratch / reader.name
    pristine.mkdir()
    reader.make(pristine)
    if reader.name != "latch":  # a latch is a refusal
        reader.read(pristine)
    report, case = Report(), first
    while case < first + cases:
        case = _batch(reader, seed, case, first + cases, pristine, report)
    return report


def _batch(reader: Reader, seed: int, first: int, end: int, pristine: Path, report: Report) -> int:
    """Run cases in one forked worker until they are done or it dies; returns the next case."""
    receiver, sender = os.pipe()
    clock = mmap.mmap(-1, 16)  # the case that runs and when it began, for the watch
    clock[:16] = struct.pack("qd", first, time.monotonic())
    worker = os.fork()
    if worker == 0:
        gc.freeze()  # the parent's garbage may hold thread pools, whose threads a forked process lacks
        os.close(receiver)
        _work(reader, seed, first, end, pristine, clock, sender)
    os.close(sender)
    os.set_blocking(receiver, False)
    text, killed = b"", False
    while True:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(receiver, 1 << 16):
                text += piece
        done, status = os.waitpid(worker, os.WNOHANG)
        if done:
            break
        _, began = struct.unpack("qd", clock[:16])
        if time.monotonic() - began > KILL_AFTER_S and not killed:
            os.kill(worker, signal.SIGKILL)
            killed = True
        time.sleep(0.02)
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(receiver, 1 << 16):
            text += piece
    os.close(receiver)
    following = first
    for line in text.decode().splitlines():
        found = json.loads(line)
        report.slowest_s = max(report.slowest_s, found["seconds"])
        report.most_bytes = max(report.most_bytes, found["bytes"])
        report.add(found["case"], found["outcome"])
        following = found["case"] + 1
    if following < end and (killed or status != 0):
        how = (
            f"hang of more than {KILL_AFTER_S:.0f} s"
            if killed
            else f"crash, signal {status & 127} code {status >> 8}"
        )
        report.add(following, how)
        following += 1
    return following


def _work(
    reader: Reader, seed: int, first: int, end: int, pristine: Path, clock: mmap.mmap, sender: int
) -> None:
    """In the worker: one case after the other; it ends after one that left too much memory behind."""
    code = 0
    folder = Path(tempfile.mkdtemp(dir=pristine.parent))
    # A fork has all that its parent held: a test suite's process may hold more than any reader should take.
    inherited, data_bytes = _resident(), DATA_BYTES + _data()
    try:
        own = os.fdopen(os.dup(2), "w")
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # what libraries print about damaged files
            os.dup2(null, stream)
        warnings.simplefilter("error", RuntimeWarning)  # numpy's would stand before the one line
        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
        shutil.copytree(pristine, folder, dirs_exist_ok=True)
        contents = {name: (pristine / name).read_bytes() for name in reader.files}
        for case in range(first, end):
            clock[:16] = struct.pack("qd", case, time.monotonic())
            outcome, seconds = _case(reader, seed, case, folder, contents)
            taken = _resident() - inherited
            if taken > BYTES:
                outcome = f"over memory ({outcome})"
            line = {"case": case, "outcome": outcome, "seconds": seconds, "bytes": taken}
            os.write(sender, json.dumps(line).encode() + b"\n")
            if taken > BYTES:
                break
    except BaseException:  # noqa: BLE001 - of the harness: told by the exit code
        print(traceback.format_exc(), file=own, flush=True)
        code = 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(code)


def _resident() -> int:
    """The most that this process had resident, in bytes; a fork begins with what its parent has."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _data() -> int:
    """What RLIMIT_DATA counts of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))


def _case(
    reader: Reader, seed: int, case: int, folder: Path, contents: dict[str, bytes]
) -> tuple[str, float]:
    rng = random.Random(f"{reader.name} {seed} {case}")
    name = rng.choice(list(reader.files))
    path, content = folder / name, contents[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    if rng.random() < 0.02:
        replace_file(rng, path)
    else:
        clear(path)
        path.write_bytes(mutate(rng, reader.files[name], content))
    if reader.sign is not None and rng.random() < 0.95:
        reader.sign(folder, name)
    began = time.process_time()
    outcome = _outcome(reader, folder)
    seconds = time.process_time() - began
    clear(path)
    for other in contents if reader.sign is not None else (name,):
        path = folder / other
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[other])
    if reader.sign is not None:
        for other in ("manifest.yaml", "manifest.sha256"):
            source = folder.parent / reader.name / other
            shutil.copyfile(source, folder / other)
    return (outcome if seconds <= SECONDS else f"slower than {SECONDS:g} s ({outcome})"), seconds


def _outcome(reader: Reader, folder: Path) -> str:
    try:
        reader.read(folder)
    except WallEdgeError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST_LINE:
            return f"refusal of {len(text)} characters, {text.count(chr(10)) + 1} lines: {_place(error)}"
        return "refusal"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
        return f"{type(error).__name__} at {_place(error)}"
    return "success"


def _place(error: BaseException) -> str:
    """The innermost line of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "wall_edge" in frame.filename or "/engines/" in frame.filename]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"


def main() -> int:
    names = [reader.name for reader in READERS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reader", default="all", help=f"all, or some of {', '.join(names)} with commas")
    parser.add_argument("--cases", type=int, default=10_000, help="over all chosen readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    wanted = names if given.reader == "all" else given.reader.split(",")
    if unknown := set(wanted) - set(names):
        parser.error(f"--reader {', '.join(unknown)}; expected all or {', '.join(names)}")
    chosen = [reader for reader in READERS if reader.name in wanted]
    shares = sum(reader.share for reader in chosen)
    reports = {}
    home = os.environ.get("TMPDIR") or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    with tempfile.TemporaryDirectory(prefix="reader-fuzz-", dir=home) as scratch:
        for reader in chosen:
            cases = max(1, given.cases * reader.share // shares)
            print(f"{reader.name}: {cases} cases", file=sys.stderr, flush=True)
            reports[reader.name] = run(reader, given.seed, given.first, cases, Path(scratch))
            if not given.json:
                _print(reader.name, reports[reader.name], given.seed)
    return _summary(reports, given.seed, given.json)


def _print(name: str, report: Report, seed: int) -> None:
    print(
        f"{name:<13} {report.cases:7} cases {report.successes:7} read {report.refusals:7} refused"
        f"  slowest {report.slowest_s:5.2f} s  took {report.most_bytes >> 20:4} MB"
    )
    for what, cases in sorted(report.findings.items(), key=lambda item: -len(item[1])):
        print(f"    {len(cases):5} x {what}; --reader {name} --seed {seed} --first {cases[0]} --cases 1")
    sys.stdout.flush()


def _summary(reports: dict[str, Report], seed: int, as_json: bool) -> int:
    totals = Counter[str]()
    for report in reports.values():
        for what, cases in report.findings.items():
            kinds = ("hang", "slower", "over memory")
            totals[next((kind for kind in kinds if what.startswith(kind)), "traceback")] += len(cases)
    about = provenance("onnxruntime", "tokenizers", "torch", "safetensors", "pyarrow", "PyYAML")
    cases = sum(report.cases for report in reports.values())
    if as_json:
        readers = {name: vars(report) for name, report in reports.items()}
        print(json.dumps({"seed": seed, "cases": cases, "readers": readers, **about}))
    else:
        hangs = totals["hang"] + totals["slower"]
        print(
            f"{cases} cases, seed {seed}: {totals['traceback']} tracebacks, {hangs} hangs, "
            f"{totals['over memory']} over memory"
        )
        print(f"{about['machine']}; Python {about['python']}, {about['versions']}; {about['date']}")
    return 1 if totals else 0


if __name__ == "__main__":
    sys.exit(main())
