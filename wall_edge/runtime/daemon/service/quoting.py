"""Words in a unit file, quoted as systemd.syntax(7), systemd.service(5) and systemd-escape(1) say."""

from __future__ import annotations

import os
import re

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@,+-]+")
_SPECIAL = {"%": "%%", "\\": r"\\", '"': r"\""}


def command_line(words: list[str]) -> str:
    """A command for ``Exec…=``. The ``:`` before it leaves every ``$`` alone, in the program's name too."""
    return " ".join((f":{quoted(words[0])}", *map(quoted, words[1:])))


def quoted(word: str) -> str:
    """One word of a command line, whatever is in it."""
    return word if _PLAIN.fullmatch(word) else f'"{"".join(map(_escaped, word))}"'


def _escaped(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isprintable():
        return character
    # Control codes, and bytes of a path that are no UTF-8 (PEP 383).
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def plain_text(text: str) -> str:
    """Text for ``Description=``, which takes no quotes: on one line, with no specifier in it."""
    return "".join(c if c.isprintable() and c != "\\" else "?" for c in text).replace("%", "%%")


def device_unit(path: str) -> str:
    """The unit of a device by its path, as ``systemd-escape --path --suffix=device`` names it."""
    parts = [part for part in path.split("/") if part]
    name = "-".join("".join(map(_escaped_in_name, os.fsencode(part))) for part in parts)
    if name.startswith("."):
        name = r"\x2e" + name[1:]
    return f"{name}.device"


def _escaped_in_name(byte: int) -> str:
    character = chr(byte)
    plain = character in ":_." or (character.isascii() and character.isalnum())
    return character if plain else f"\\x{byte:02x}"
