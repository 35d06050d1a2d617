"""Protocol Buffers' wire format, as much as it takes to look into an ONNX file and to change it without the
onnx package.

A message is a row of fields: a key ``number << 3 | kind`` as a varint, then a varint, 4 or 8 bytes, or a
length and so many bytes (protobuf.dev, "Encoding"). Groups, which ONNX has none of, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator

_FIXED = {1: 8, 5: 4}


class Damaged(ValueError):
    """Bytes that are no message."""


Value = int | memoryview
"""A field's content: a whole number or bytes."""


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Numbers and values of a message's fields, in order.

    Raises :class:`Damaged`.
    """
    return ((number, value) for number, value, _ in records(message))


def records(message: memoryview) -> Iterator[tuple[int, Value, memoryview]]:
    """As :func:`fields`, with the bytes of the whole field as the third. Raises :class:`Damaged`."""
    at, end = 0, len(message)
    while at < end:
        begin = at
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        value: Value
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2 or kind in _FIXED:
            length, at = _varint(message, at) if kind == 2 else (_FIXED[kind], at)
            value, at = message[at : at + length], at + length
        else:
            raise Damaged(f"a field of kind {kind}")
        if at > end or number == 0:
            raise Damaged("a field that goes beyond its message")
        yield number, value, message[begin:at]


def field(number: int, value: int | bytes) -> bytes:
    """A field as it is written: a whole number that is not negative, or bytes."""
    if isinstance(value, int):
        return _as_varint(number << 3) + _as_varint(value)
    return _as_varint(number << 3 | 2) + _as_varint(len(value)) + value


def as_message(value: Value) -> memoryview:
    """A field's value as the message that it holds. Raises :class:`Damaged`."""
    if isinstance(value, int):
        raise Damaged("a number where a message belongs")
    return value


def text(value: Value) -> str:
    """A field's bytes as text. Raises :class:`Damaged`."""
    if isinstance(value, int):
        raise Damaged("a number where text belongs")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise Damaged("text that is not UTF-8") from None


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise Damaged("a number that goes beyond its message")
        byte = message[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise Damaged("a number of more than 10 bytes")


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
