"""A machine's facts, and the file tree that they are read from: the machine's own, or a recorded one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wall_edge.errors import ConfigError
from wall_edge.files import read_bytes, require_folder

_FILE_BYTES = 64 << 20
"""dpkg's status file of a desktop has some 5 MB."""
_LINKS = 40
"""As the kernel: more links than these are a circle."""


@dataclass(frozen=True)
class Tree:
    """Text files under a root. What is missing or cannot be read is None or empty, never an error.

    Links are followed inside the root, as if it were ``/``: a recorded tree's ``/etc/nvpmodel.conf`` may
    point to ``/etc/nvpmodel/…``, and nothing leads out of it.
    """

    root: Path = Path("/")

    @classmethod
    def below(cls, root: Path | None) -> Tree:
        """The machine's own, or what lies below a folder. Raises ConfigError where there is none."""
        if root is None:
            return cls()
        require_folder(root, ConfigError, "the root of a machine's files")
        return cls(root)

    def real(self, name: str) -> str:
        """``name`` (absolute, as on the machine) with all links followed, as on the machine."""
        done: list[str] = []
        todo = name.split("/")[::-1]
        links_left = _LINKS
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            link = _link(self.root.joinpath(*done, part))
            if link is None or links_left == 0:
                done.append(part)
                continue
            links_left -= 1
            done = [] if link.startswith("/") else done
            todo += link.split("/")[::-1]
        return "/" + "/".join(done)

    def path(self, name: str) -> Path:
        """Where the file ``name`` lies, links followed."""
        return self.root / self.real(name).lstrip("/")

    def exists(self, name: str) -> bool:
        """Whether there is a file, a folder or a device of that name; a link to nothing is none."""
        try:
            return self.path(name).exists()
        except (OSError, ValueError):
            return False

    def link(self, name: str) -> str | None:
        """What a link says, whether it is there or not."""
        folder, _, last = name.rpartition("/")
        return _link(self.path(folder) / last)

    def text(self, name: str) -> str | None:
        """A file's text without the white space and NULs at its end."""
        try:
            content = read_bytes(self.path(name), ConfigError, _FILE_BYTES)
        except (ConfigError, OSError, ValueError):
            return None
        return content.decode(errors="replace").rstrip("\0 \r\n\t")

    def lines(self, name: str) -> list[str]:
        """The lines of a file."""
        return (self.text(name) or "").splitlines()

    def number(self, name: str) -> int | None:
        """A file's text as a whole number."""
        text = self.text(name)
        try:
            return None if text is None or len(text) > 40 else int(text)
        except ValueError:
            return None

    def names(self, folder: str) -> tuple[str, ...]:
        """What is in a folder, sorted."""
        try:
            return tuple(sorted(entry.name for entry in self.path(folder).iterdir()))
        except (OSError, ValueError):
            return ()


def _link(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Clock:
    """A clock's bounds and present value [Hz]. Locked: the bounds are one, as ``jetson_clocks`` sets them."""

    least: int | None = None
    most: int | None = None
    now: int | None = None
    hardware_most: int | None = None
    """The most that the part can do, whatever the power mode allows."""

    @property
    def locked(self) -> bool:
        return self.least is not None and self.least == self.most


@dataclass(frozen=True)
class Facts:
    """What is known of a machine; None where its files do not say."""

    model: str | None = None
    """The device tree's words."""
    part_number: str | None = None
    """Of the module, such as p3701-0005."""
    soc: str | None = None
    """NVIDIA's chip, such as tegra234; none: of another maker."""
    sm: int | None = None
    """Ten times the compute capability of the chip's GPU."""
    l4t: str | None = None
    """Release of Linux for Tegra, such as 36.4.3."""
    jetpack: str | None = None
    tensorrt: str | None = None
    cuda: str | None = None
    kernel: str | None = None
    realtime: bool = False
    """Whether the kernel has PREEMPT_RT."""
    isolated_cores: tuple[int, ...] = ()
    power_mode: str | None = None
    """Its name in /etc/nvpmodel.conf, such as MAXN."""
    power_modes: tuple[str, ...] = ()
    gpu_clock: Clock | None = None
    memory_clock: Clock | None = None
    """Of a Jetson's memory controller; before release 38 only root may read it."""
    cpu_clocks: dict[str, Clock] = field(default_factory=dict)
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    swap_bytes: int | None = None
    """Of files and partitions; without zram."""
    zram_bytes: int | None = None
    """Swap that is compressed memory."""

    @property
    def is_jetson(self) -> bool:
        """In a container the release file may be missing; the device tree shows through."""
        return self.l4t is not None or self.soc is not None

    @property
    def clocks_locked(self) -> bool:
        """Whether every clock that is known is locked; False when none is known."""
        clocks = [self.gpu_clock, self.memory_clock, *self.cpu_clocks.values()]
        present = [clock for clock in clocks if clock is not None]
        return bool(present) and all(clock.locked for clock in present)
