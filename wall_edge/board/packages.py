"""Installed Debian packages, from dpkg's status file; none on other systems.

Format: ``man 5 deb-control`` and dpkg's ``status``: stanzas of ``Field: value`` lines, an empty line between.
"""

from __future__ import annotations

import re

from wall_edge.board.facts import Tree

STATUS = "/var/lib/dpkg/status"


def packages(tree: Tree) -> dict[str, str]:
    """Name → version of what is installed whole."""
    result: dict[str, str] = {}
    for stanza in (tree.text(STATUS) or "").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): *(.*)$", stanza, re.MULTILINE))
        if fields.get("Package") and fields.get("Status", "").split()[-1:] == ["installed"]:
            result[fields["Package"]] = fields.get("Version", "")
    return result


def upstream(version: str) -> str:
    """Without epoch and Debian's own part: ``10.3.0.30-1+cuda12.5`` → ``10.3.0.30``, ``6.2+b77`` → 6.2."""
    return re.split(r"[-+~]", version.rpartition(":")[2])[0]
