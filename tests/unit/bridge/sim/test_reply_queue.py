"""One half-duplex line: when replies arrive, and which are lost, doubled or damaged."""

from __future__ import annotations

from wall_edge_bridge.sim.replies import ReplyQueue


def queue(bytes_ns: int = 0) -> ReplyQueue[bytes]:
    replies: ReplyQueue[bytes] = ReplyQueue()
    replies.duration = lambda data: len(data) * bytes_ns
    return replies


def test_replies_of_an_untimed_line_are_there_at_once() -> None:
    replies = queue()
    assert replies.due_ns is None
    assert replies.request(b"ask", 5) == 5
    replies.put(b"a", 5)
    assert replies.due_ns == 5
    assert replies.collect(4) == []
    assert replies.collect(5) == [b"a"]
    assert (replies.collect(5), replies.due_ns) == ([], None)


def test_a_line_carries_one_thing_at_a_time() -> None:
    replies = queue(10)
    assert replies.request(b"ask", 100) == 130
    assert replies.request(b"more", 100) == 170
    replies.put(b"ab", 130)
    replies.put(b"c", 130)
    assert replies.free_ns == 200
    assert replies.collect(189) == []
    assert replies.collect(190) == [b"ab"]
    assert replies.collect(200) == [b"c"]


def test_a_latency_holds_replies_back_and_never_reorders_them() -> None:
    replies = queue(10)
    replies.latency_ns = 1000
    replies.put(b"a", 0)
    replies.latency_ns = 0
    replies.put(b"b", 0)
    assert replies.due_ns == 1010
    assert replies.collect(1009) == []
    assert replies.collect(1010) == [b"a", b"b"]


def test_the_nth_reply_from_now_is_lost_doubled_or_damaged_once() -> None:
    replies = queue(1)
    replies.put(b"0", 0)
    replies.drop(2)
    replies.double(3)
    replies.change(lambda data: data + b"!", 4)
    for data in (b"1", b"2", b"3", b"4", b"5"):
        replies.put(data, 0)
    assert replies.count == 6
    assert replies.collect(100) == [b"0", b"1", b"3", b"3", b"4!", b"5"]
    assert replies.free_ns == 7  # a second copy takes its time, a lost one none


def test_a_healed_line_loses_nothing() -> None:
    replies = queue()
    replies.drop()
    replies.double(2)
    replies.change(lambda _: b"x", 3)
    replies.heal()
    for data in (b"1", b"2", b"3"):
        replies.put(data, 0)
    assert replies.collect(0) == [b"1", b"2", b"3"]
