"""A machine's facts, and the file tree that they are read from: the machine's own, or a recorded one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Tree:
    """Text files under a root. What is missing or cannot be read is None or empty, never an error."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """Where the file ``name`` (absolute, as on the machine) lies."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """A file's text without the white space and NULs at its end."""
        try:
            return self.path(name).read_text(errors="replace").rstrip("\0 \n\t")
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """A file's text as a whole number."""
        text = self.text(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            return None

    def names(self, folder: str) -> tuple[str, ...]:
        """What is in a folder, sorted."""
        try:
            return tuple(sorted(entry.name for entry in self.path(folder).iterdir()))
        except OSError:
            return ()


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
    l4t: str | None = None
    """Release of Linux for Tegra, such as 36.4.3; none: not a Jetson."""
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
    cpu_clocks: dict[str, Clock] = field(default_factory=dict)
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    swap_bytes: int | None = None

    @property
    def is_jetson(self) -> bool:
        return self.l4t is not None

    @property
    def clocks_locked(self) -> bool:
        """Whether every clock that is known is locked; False when none is known."""
        clocks = [clock for clock in (self.gpu_clock, *self.cpu_clocks.values()) if clock is not None]
        return bool(clocks) and all(clock.locked for clock in clocks)
