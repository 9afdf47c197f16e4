"""Order and merging of one topic's events: pure, by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange._shared.flow import Flow, Order
from agentexchange_schemas import Envelope


def envelope(seq: int, epoch: int = 5) -> Envelope:
    return Envelope("ticker:BTCUSDT", epoch, seq, None, 1_000_000 + seq, {"seq": seq})


def begun(seq: int, epoch: int = 5) -> Flow:
    flow = Flow("m0", "ticker:BTCUSDT")
    flow.advance(envelope(seq, epoch))
    return flow


@pytest.mark.parametrize(
    ("epoch", "seq", "order"),
    [
        (5, 11, Order.NEXT),
        (6, 11, Order.NEXT),
        (5, 12, Order.HOLE),
        (6, 13, Order.HOLE),
        (5, 10, Order.OLD),
        (5, 1, Order.OLD),
        (4, 11, Order.OLD),
        (4, 99, Order.OLD),
        (6, 10, Order.REPLACED),
        (6, 1, Order.REPLACED),
    ],
)
def test_the_place_after_seq_10_of_epoch_5(epoch: int, seq: int, order: Order) -> None:
    assert begun(10).order(envelope(seq, epoch)) is order


def test_after_another_log_anything_counts_anew_once() -> None:
    flow = begun(10)
    flow.replace()
    assert flow.next_seq < 0
    assert flow.order(envelope(3000, 6)) is Order.REPLACED
    flow.advance(envelope(3000, 6))
    assert flow.order(envelope(3001, 6)) is Order.NEXT


def test_the_first_is_taken_as_it_comes() -> None:
    assert Flow("m0", "ticker:BTCUSDT").order(envelope(77)) is Order.FIRST


def test_the_hot_path_is_open_only_while_nothing_is_held() -> None:
    flow = begun(10)
    assert flow.next_seq == 11
    flow.hold()
    assert flow.next_seq < 0
    flow.release()
    assert flow.next_seq == 11
    status = Flow("m0", "status", is_event=False)
    status.advance(envelope(1))
    assert status.next_seq < 0


def drive(flow: Flow, envelopes: list[Envelope]) -> list[int]:
    """What a handler would get of ``envelopes``."""
    got = []
    for item in envelopes:
        if flow.order(item) is not Order.OLD:
            flow.advance(item)
            assert item.seq is not None
            got.append(item.seq)
    return got


@given(
    held=st.lists(st.integers(1, 30), unique=True).map(sorted),
    latest=st.none() | st.integers(1, 30),
    last=st.none() | st.integers(1, 30),
)
def test_a_join_is_in_order_without_a_double_and_keeps_the_newest(
    held: list[int], latest: int | None, last: int | None
) -> None:
    flow = Flow("m0", "ticker:BTCUSDT") if last is None else begun(last)
    flow.hold()
    assert flow.held is not None
    flow.held.extend(map(envelope, held))
    got = drive(flow, flow.release(None if latest is None else envelope(latest)))
    assert got == sorted(set(got))
    newest = max([*held, latest or 0, last or 0])
    assert flow.seq == newest
    known = {*held, latest} - {None}
    if last is not None:
        assert got == sorted(seq for seq in known if seq is not None and seq > last)
    elif latest is not None:
        assert got[0] == latest, "the latest value comes first"
        assert got == sorted(seq for seq in known if seq is not None and seq >= latest)
    else:
        assert got == held


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), max_size=60))
def test_within_an_epoch_no_seq_is_handed_out_twice_or_backwards(stream: list[tuple[int, int]]) -> None:
    flow = Flow("m0", "ticker:BTCUSDT")
    taken: list[tuple[int, int]] = []
    for epoch, seq in stream:
        item = envelope(seq, epoch)
        if flow.order(item) is not Order.OLD:
            flow.advance(item)
            taken.append((epoch, seq))
    assert taken == sorted(set(taken))
