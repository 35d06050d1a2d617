"""Any frame that a CAN bus can carry, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.can_frame import FD_LENGTHS


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    extended, fd = draw(st.booleans()), draw(st.booleans())
    identifier = draw(st.integers(0, 0x1FFFFFFF if extended else 0x7FF))
    length = draw(st.sampled_from(FD_LENGTHS)) if fd else draw(st.integers(0, 8))
    data = draw(st.binary(min_size=length, max_size=length))
    remote = not fd and draw(st.booleans())
    return Frame(
        identifier,
        bytes(length) if remote else data,
        extended,
        fd,
        fd and draw(st.booleans()),
        remote=remote,
    )
