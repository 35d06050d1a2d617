"""An archive of ``torch.save``, looked through without being run: nothing in it but what plain tensors need.

The archive is written afresh from what was looked at. Two readers of one zip need not see the same in it:
zipfile tells names by their case and allows for bytes in front, torch's reader does neither.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections import deque
from collections.abc import Mapping

from wall_edge.files import shown

LARGEST = 4 << 20
"""Bytes: statistics of a hundred robots take some 100 kB."""
MOST_OPERATIONS = 20_000
"""Of the pickle: a tensor takes 30. So many can neither fill the memory nor nest deeper than a hash may go,
and keys that all collide take a second."""
_MOST_MEMBERS = 2_000
_STORAGES = {
    "torch FloatStorage": 4,
    "torch DoubleStorage": 8,
    "torch HalfStorage": 2,
    "torch BFloat16Storage": 2,
}
"""Bytes of a number."""
_GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *_STORAGES,
    }
)
"""What a pickle of plain tensors names."""
_NAMES_OTHERWISE = ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")
"""Operations that call by a name which is computed, or looked up elsewhere."""
_STORAGE_ID = ("MARK", "BINUNICODE", "GLOBAL", "BINUNICODE", "BINUNICODE", "TUPLE")
"""What makes a storage's id, but for its number of values before the last: the word, type, record, device."""
_RECORD = re.compile(r"data\.pkl|byteorder|version|data/\d+")
Operation = tuple[str, object]
"""Name and argument."""


class Suspect(Exception):
    """What an archive holds that a file of plain tensors does not, in words."""


def plain_archive(content: bytes) -> bytes:
    """The archive, written afresh. Raises :class:`Suspect`, or whatever zipfile and pickletools meet."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > LARGEST:
            raise Suspect(f"more than {LARGEST} bytes when inflated")
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        names = {member.filename for member in members}
        if packed or len(members) > _MOST_MEMBERS or len(names) < len(members):
            raise Suspect(
                "no plain archive of torch.save, whose members are few, of different names, not packed"
            )
        pickles = [name for name in names if name.endswith(".pkl")]
        if len(pickles) != 1 or not pickles[0].endswith("/data.pkl"):
            raise Suspect("no plain archive of torch.save with one pickle")
        root = pickles[0].removesuffix("data.pkl")
        parts = {name.removeprefix(root): archive.read(name) for name in names if name.startswith(root)}
    records = {name: part for name, part in parts.items() if _RECORD.fullmatch(name)}
    _check_operations(records["data.pkl"], {name: len(record) for name, record in records.items()})
    return _written(records)


def _written(records: Mapping[str, bytes]) -> bytes:
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w") as archive:
        for name, record in records.items():
            archive.writestr(f"archive/{name}", record)
    return fresh.getvalue()


def _check_operations(content: bytes, sizes: Mapping[str, int]) -> None:
    """No name but those of tensors, no tuple twice (a key of such takes hours to hash), and no storage
    of another size than its record's, behind whose end a reader of torch's might read."""
    memo: dict[object, Operation] = {}
    latest = deque[Operation](maxlen=7)
    for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
        name = operation.name
        if count >= MOST_OPERATIONS:
            raise Suspect(f"its pickle has more than {MOST_OPERATIONS} operations")
        if name in _NAMES_OTHERWISE:
            raise Suspect(f"its pickle holds the operation {name}")
        if name == "PROTO" and argument != 2:
            raise Suspect(f"its pickle is of protocol {argument}, and not of 2")
        if name == "GLOBAL" and argument not in _GLOBALS:
            raise Suspect(f"its pickle names {shown(str(argument).replace(' ', '.'), 80)}")
        if name.endswith("PUT"):
            memo[argument] = latest[-1]
            continue
        if name.endswith("GET"):
            name, argument = memo[argument]
            if "TUPLE" in name:
                raise Suspect("its pickle uses a tuple twice")
        if name == "BINPERSID":
            _check_storage(tuple(latest), sizes)
        latest.append((name, argument))


def _check_storage(latest: tuple[Operation, ...], sizes: Mapping[str, int]) -> None:
    """``latest``: the operations before the one that asks for a storage, as torch.save writes them."""
    if tuple(name for name, _ in (*latest[:-2], *latest[-1:])) != _STORAGE_ID:
        raise Suspect("its pickle asks for a storage as torch.save never does")
    _, _, kind, record, _, count, _ = (argument for _, argument in latest)
    size = sizes.get(f"data/{record}")
    if not isinstance(count, int) or size != count * _STORAGES.get(str(kind), 0):
        held = "no record" if size is None else f"a record of {size} bytes"
        raise Suspect(f"storage {shown(record, 20)} of {shown(count, 20)} numbers in {held}")
