"""H2, H16: a graph file's bytes are a message, or refused; nothing is read beyond its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto

from wall_edge.bundle.graphs.wire import Damaged, as_message, field, fields, records, text


def read(content: bytes) -> list[tuple[int, object]]:
    return [(n, v if isinstance(v, int) else bytes(v)) for n, v in fields(memoryview(content))]


def test_what_protobuf_writes_is_read() -> None:
    node = NodeProto(op_type="Add", input=["a", "b"], domain="é")
    assert read(node.SerializeToString()) == [(1, b"a"), (1, b"b"), (4, b"Add"), (7, "é".encode())]
    assert read(b"\x08\x96\x01\x15\1\2\3\4\x19" + bytes(8)) == [(1, 150), (2, b"\1\2\3\4"), (3, bytes(8))]


@pytest.mark.parametrize(
    "content",
    [b"\x08", b"\x08\x80", b"\x0a\x05abc", b"\x0b", b"\x0f", b"\x00\x01", b"\xff" * 11, b"\x15\1"],
)
def test_damaged_messages(content: bytes) -> None:
    with pytest.raises(Damaged):
        read(content)


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_damaged(content: bytes) -> None:
    try:
        found = read(content)
    except Damaged:
        return
    assert sum(len(value) for _, value in found if isinstance(value, bytes)) <= len(content)


def test_text_is_utf8() -> None:
    assert text(memoryview("é".encode())) == "é"
    for wrong in (3, memoryview(b"\xff")):
        with pytest.raises(Damaged):
            text(wrong)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2**64 - 1) | st.binary(max_size=200)), max_size=9)
)
def test_what_is_written_is_read_again(entries: list[tuple[int, int | bytes]]) -> None:
    content = b"".join(field(number, value) for number, value in entries)
    assert read(content) == entries
    assert b"".join(raw for _, _, raw in records(memoryview(content))) == content


def test_fields_are_written_as_protobuf_writes_them() -> None:
    node = NodeProto(op_type="Add", input=["a", "b" * 300], domain="é")
    content = node.SerializeToString()
    assert b"".join(field(n, v) for n, v in read(content)) == content  # type: ignore[arg-type]


def test_a_number_is_no_message() -> None:
    assert as_message(memoryview(b"abc")) == b"abc"
    with pytest.raises(Damaged):
        as_message(3)
