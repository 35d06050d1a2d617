"""What a CANopen library of others leaves to its user: the state machine of CiA 402, and an ideal motor."""

from __future__ import annotations

_STATUS = {"disabled": 0x250, "ready": 0x231, "on": 0x233, "enabled": 0x237, "fault": 0x208}


class IdealMotor:
    """Stands at once where it is told to, when it is enabled. Never was it told to go to count 0 here."""

    def __init__(self, position: int) -> None:
        self.state, self.position, self.target = "disabled", position, 0
        self.words: list[int] = []

    @property
    def status(self) -> int:
        """Object 6041."""
        return _STATUS[self.state]

    def control(self, word: int) -> None:
        """Object 6040."""
        rising = word & ~(self.words[-1] if self.words else 0)
        self.words.append(word)
        if self.state == "fault":
            self.state = "disabled" if rising & 0x80 else "fault"
        elif not word & 0x02 or not word & 0x04:
            self.state = "disabled"
        elif word & 0x0F == 0x06:
            self.state = "ready"
        elif self.state == "ready" and word & 0x0F == 0x07:
            self.state = "on"
        elif self.state in ("on", "enabled"):
            self.state = "enabled" if word & 0x0F == 0x0F else "on"
        self.move(self.target)

    def move(self, target: int) -> None:
        """Object 607A."""
        self.target = target
        if self.state == "enabled":
            self.position = target
