from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiredis
import pytest

from agentexchange_bridge.items import MAX_DATA_BYTES
from agentexchange_bridge.notices import from_us
from agentexchange_schemas import Cause, EnvelopeError, FeedStatus, envelope
from tests.bridge._kit import BufferLimits, RetainLimits, candle, fresh_grant, make_outbox, order, ticker

if TYPE_CHECKING:
    from agentexchange_bridge.batch import Batch
    from agentexchange_bridge.outbox import Outbox
    from agentexchange_schemas.envelope import Envelope

T0 = 1_700_000_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_us = T0

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(clock: Clock) -> Outbox:
    box = make_outbox(wall=clock)
    box.reconcile(fresh_grant(), 0.0)
    return box


def arguments(batch: Batch) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(batch.packed)
    return list(reader.gets())


def envelopes(batch: Batch) -> list[Envelope]:
    args = arguments(batch)
    return [envelope.decode(raw) for raw in args[-3 * len(batch.items) + 2 :: 3]]


def write(box: Outbox, now: float = 0.0) -> list[Envelope]:
    """Write everything that waits; what was written."""
    written = []
    while batch := box.next_batch():
        written += envelopes(batch)
        box.applied(batch, now)
    return written


def server_has(box: Outbox, **changes: Any) -> Any:
    """A grant as a server gives it that has everything that was acknowledged."""
    return fresh_grant(**{"epoch": 101, "stored_epoch": 100, "received_us": box.written_us} | changes)


def test_received_times_increase_strictly_whatever_the_clock_does(outbox: Outbox, clock: Clock) -> None:
    for step in (0, 0, 5, -1_000_000, 0):
        clock.now_us += step
        outbox.tick(*ticker())
    stamps = [event.received_us for event in write(outbox)]
    assert stamps == [T0, T0 + 1, T0 + 5, T0 + 6, T0 + 7]


def test_envelope_bytes_are_those_of_the_codec(outbox: Outbox) -> None:
    topic, fields = ticker()
    outbox.tick(topic, fields)
    (raw,) = arguments(outbox.next_batch())[-1:]
    assert raw == envelope.encode(topic, 100, 1, 1771860645123, T0, fields, T0)


def test_the_written_time_is_the_batch_s_and_never_before_the_received_time(outbox: Outbox, clock: Clock) -> None:
    outbox.tick(*ticker("A"))
    outbox.tick(*ticker("B"))
    clock.now_us += 500
    assert [event.written_us for event in write(outbox)] == [T0 + 500, T0 + 500]
    clock.now_us -= 1_000_000
    outbox.tick(*ticker("A"))
    (late,) = write(outbox)
    assert late.written_us == late.received_us == T0 + 2


def test_what_is_encoded_anew_gets_a_new_written_time(outbox: Outbox, clock: Clock) -> None:
    outbox.order(*order("o-1"))
    (first,) = envelopes(outbox.next_batch())
    clock.now_us += 700
    outbox.reconcile(server_has(outbox), 0.0)
    (again,) = write(outbox)
    assert (again.received_us, first.written_us, again.written_us) == (first.received_us, T0, T0 + 700)


def test_seqs_count_per_topic_and_forming_candles_have_none(outbox: Outbox) -> None:
    for topic, fields in (ticker("A"), ticker("B"), ticker("A")):
        outbox.tick(topic, fields)
    outbox.candle(*candle(closed=False))
    outbox.candle(*candle(closed=True))
    assert [(event.topic, event.seq) for event in write(outbox)] == [
        ("ticker:A", 1),
        ("ticker:B", 1),
        ("ticker:A", 2),
        ("candles:BTCUSDT:1m", None),
        ("candles:BTCUSDT:1m", 1),
    ]


def test_each_tick_has_its_own_upstream_time(outbox: Outbox) -> None:
    for text in ("2026-02-23T15:30:45.123Z", "2026-02-23T15:30:45.123Z", None, "2026-02-23T15:30:46Z"):
        topic, fields = ticker()
        outbox.tick(topic, fields | {"timestamp": text})
    assert [event.upstream_ms for event in write(outbox)] == [1771860645123, 1771860645123, None, 1771860646000]


def test_a_candle_without_the_flag_is_closed(outbox: Outbox) -> None:
    topic, fields = candle(closed=True)
    del fields["is_closed"]
    outbox.candle(topic, fields)
    assert outbox.next_batch().flags == "c"


def test_fields_that_cannot_be_written_are_refused_and_cost_nothing(outbox: Outbox) -> None:
    topic, fields = ticker()
    with pytest.raises(EnvelopeError):
        outbox.tick(topic, fields | {"note": "x" * MAX_DATA_BYTES})
    with pytest.raises(EnvelopeError):
        outbox.order("orders", order("1")[1] | {"n": 1 << 70})
    outbox.tick(topic, fields)
    assert [event.seq for event in write(outbox)] == [1]


def test_batches_are_bounded_by_bytes() -> None:
    box = make_outbox(batch_bytes=1000)
    box.reconcile(fresh_grant(), 0.0)
    for number in range(10):
        box.order("orders", order(str(number))[1] | {"note": "x" * 600})
    assert len(box.next_batch().items) == 2


# Who owns the scope


def test_a_batch_that_was_applied_is_acknowledged_and_the_next_gets_the_right_seqs(outbox: Outbox) -> None:
    outbox.tick(*ticker())
    first = outbox.next_batch()
    outbox.tick(*ticker())
    outbox.next_batch()
    applied = {"batch": first.batch_id, "received_us": first.last_us, "seqs": {"ticker:BTCUSDT": 1}}
    result = outbox.reconcile(server_has(outbox, **applied), 0.0)
    assert (result.continuing, result.applied) == (True, "t")
    (event,) = write(outbox)
    assert (event.seq, event.epoch, event.received_us) == (2, 101, T0 + 1)


def test_a_batch_that_was_not_applied_is_encoded_anew_under_the_new_epoch(outbox: Outbox) -> None:
    outbox.tick(*ticker())
    lost = outbox.next_batch()
    outbox.tick(*ticker("B"))
    outbox.reconcile(server_has(outbox, batch="somebody:1"), 0.0)
    events = write(outbox)
    assert [(event.topic, event.seq, event.epoch) for event in events] == [
        ("ticker:BTCUSDT", 1, 101),
        ("ticker:B", 1, 101),
    ]
    assert events[0].received_us == lost.last_us


def test_when_another_worker_wrote_since_everything_is_dropped_and_the_span_told(outbox: Outbox, clock: Clock) -> None:
    outbox.tick(*ticker())
    outbox.next_batch()
    outbox.order(*order("1"))
    clock.now_us += 10_000_000
    grant = fresh_grant(epoch=103, stored_epoch=102, received_us=T0 + 5, seqs={"status": 3})
    result = outbox.reconcile(grant, 0.0)
    assert (result.continuing, result.dropped) == (False, 2)
    (notice,) = write(outbox)
    status = FeedStatus.from_fields(notice.data)
    assert (notice.topic, notice.seq, status.cause) == ("status", 4, Cause.TAKEOVER)


def test_a_scope_that_was_let_go_is_not_continued_even_on_a_wiped_server(outbox: Outbox) -> None:
    outbox.tick(*ticker())
    outbox.drop()
    assert not outbox.reconcile(fresh_grant(), 0.0).continuing
    assert write(outbox) == []


def test_a_takeover_of_a_wiped_server_is_blind_since_the_last_owner_was_seen(clock: Clock) -> None:
    box = make_outbox(wall=clock)
    box.reconcile(fresh_grant(), 0.0, owner_seen_us=T0 - 2_000_000)
    (notice,) = write(box)
    status = FeedStatus.from_fields(notice.data)
    assert (status.cause, status.since) == (Cause.TAKEOVER, from_us(T0 - 2_000_000))
    assert "lost the log" in (status.message or "")


def test_dropping_tells_how_much_was_not_written(outbox: Outbox) -> None:
    outbox.tick(*ticker())
    outbox.next_batch()
    outbox.tick(*ticker())
    outbox.order(*order("1"))
    assert outbox.drop() == 3
    assert not outbox.is_open


# A server that forgot


def filled(outbox: Outbox, clock: Clock) -> list[int]:
    """Three acknowledged batches: order and tick in each. Returns each batch's last r."""
    last = []
    for number in range(3):
        clock.now_us += 1000
        outbox.order(*order(str(number)))
        outbox.tick(*ticker())
        last.append(write(outbox, now=float(number))[-1].received_us)
    return last


def test_what_a_restarted_server_forgot_is_written_again_first_and_ticks_are_told(outbox: Outbox, clock: Clock) -> None:
    last = filled(outbox, clock)
    outbox.order(*order("waiting"))
    grant = fresh_grant(
        epoch=101, stored_epoch=100, received_us=last[0], seqs={"orders": 1, "ticker:BTCUSDT": 1}, batch="w1:1"
    )
    result = outbox.reconcile(grant, 3.0)
    assert (result.resent, result.forgotten_ticks) == (2, 2)
    again = write(outbox)
    assert [(event.topic, event.seq) for event in again] == [("orders", n) for n in (2, 3, 4)] + [("status", 1)]
    assert [event.data.get("order_id") for event in again[:3]] == ["1", "2", "waiting"]
    assert [event.received_us for event in again] == sorted(event.received_us for event in again)
    status = FeedStatus.from_fields(again[3].data)
    assert (status.cause, status.count) == (Cause.LOG_ROLLED_BACK, 2)


def test_a_wiped_server_gets_a_new_log_with_what_is_still_known(outbox: Outbox, clock: Clock) -> None:
    filled(outbox, clock)
    result = outbox.reconcile(fresh_grant(epoch=101, stored_epoch=0, log_name="other"), 3.0)
    assert (result.continuing, result.resent, result.replaced) == (True, 3, True)
    again = write(outbox)
    assert [event.seq for event in again] == [1, 2, 3, 1]
    assert FeedStatus.from_fields(again[3].data).cause == Cause.LOG_REPLACED


def test_what_was_forgotten_twice_is_written_a_third_time(outbox: Outbox, clock: Clock) -> None:
    filled(outbox, clock)
    for epoch in (101, 102):
        outbox.reconcile(fresh_grant(epoch=epoch, stored_epoch=0), 3.0)
        assert [event.data["order_id"] for event in write(outbox, now=3.0) if event.topic == "orders"] == [
            "0",
            "1",
            "2",
        ]


def test_a_server_that_has_everything_gets_nothing_again(outbox: Outbox, clock: Clock) -> None:
    filled(outbox, clock)
    result = outbox.reconcile(server_has(outbox, batch="w1:3"), 3.0)
    assert (result.resent, result.forgotten_ticks) == (0, 0)
    assert write(outbox) == []


@pytest.mark.parametrize(
    "limits",
    [RetainLimits(age_s=1.5), RetainLimits(batches=2), RetainLimits(size_bytes=700)],
    ids=["age", "count", "bytes"],
)
def test_what_is_held_for_writing_again_is_bounded(clock: Clock, limits: RetainLimits) -> None:
    box = make_outbox(wall=clock, retain=limits)
    box.reconcile(fresh_grant(), 0.0)
    filled(box, clock)
    assert box.reconcile(fresh_grant(epoch=101, stored_epoch=0), 3.0).resent == 2


def test_what_was_forgotten_beyond_what_is_held_is_a_span_without_a_count(clock: Clock) -> None:
    box = make_outbox(wall=clock, retain=RetainLimits(batches=1))
    box.reconcile(fresh_grant(), 0.0)
    last = filled(box, clock)
    cut = fresh_grant(epoch=101, stored_epoch=100, received_us=last[0], seqs={"orders": 1, "ticker:BTCUSDT": 1})
    assert box.reconcile(cut, 3.0).resent == 1
    status = FeedStatus.from_fields(write(box)[-1].data)
    assert (status.cause, status.count) == (Cause.LOG_ROLLED_BACK, None)
    assert (status.since, status.until) == (from_us(last[0] + 1), from_us(last[2]))


def test_a_log_cut_below_what_this_owner_found_is_told_too(clock: Clock) -> None:
    box = make_outbox(wall=clock)
    box.reconcile(fresh_grant(epoch=100, stored_epoch=99, received_us=T0 - 500), 0.0)
    write(box)
    box.reconcile(fresh_grant(epoch=101, stored_epoch=100, received_us=T0 - 900), 0.0)
    status = FeedStatus.from_fields(write(box)[-1].data)
    assert (status.cause, status.count, status.since) == (Cause.LOG_ROLLED_BACK, None, from_us(T0 - 899))
    assert box.reconcile(fresh_grant(epoch=102, stored_epoch=101, received_us=box.written_us), 0.0).resent == 0
    assert write(box) == []


def test_a_log_that_is_ahead_moves_what_waits_above_it(outbox: Outbox) -> None:
    outbox.order(*order("1"))
    outbox.next_batch()
    outbox.tick(*ticker())
    outbox.order(*order("2"))
    ahead = T0 + 60_000_000
    outbox.reconcile(server_has(outbox, log_floor_us=ahead, log_ids=("9-9", "0-0")), 0.0)
    outbox.tick(*ticker("B"))
    events = write(outbox)
    assert [event.topic for event in events] == ["orders", "ticker:BTCUSDT", "orders", "ticker:B"]
    assert [event.received_us for event in events] == [ahead + 1, ahead + 2, ahead + 3, ahead + 4]


# Losses and states


def test_losses_become_notices_in_the_log(clock: Clock) -> None:
    box = make_outbox(wall=clock, buffer=BufferLimits(ticks=4, kept=4))
    box.reconcile(fresh_grant(), 0.0)
    for _ in range(5):
        box.tick(*ticker())
    for number in range(5):
        box.order(*order(str(number)))
    box.tell_losses()
    assert [event.topic for event in write(box)] == ["ticker:BTCUSDT", *4 * ["orders"]], "no notice pushed out an order"
    box.tell_losses()
    box.tell_losses()
    told = [FeedStatus.from_fields(event.data) for event in write(box)]
    assert [(status.topic, status.cause, status.count) for status in told] == [
        ("ticker:BTCUSDT", Cause.CONFLATED, 4),
        ("orders", Cause.DROPPED, 1),
    ]


def test_last_ids_and_last_event_follow_what_was_written(outbox: Outbox) -> None:
    outbox.tick(*ticker())
    outbox.candle(*candle(closed=True))
    outbox.candle(*candle(closed=False))
    write(outbox)
    assert outbox.log_ids == [envelope.log_id(T0), envelope.log_id(T0 + 1)]
    assert outbox.last_event_us == T0 + 2
    outbox.notices([outbox.narrator.span(Cause.REDIS_LOST, T0, T0, message="m")])
    write(outbox)
    assert outbox.last_event_us == T0 + 2
    assert outbox.log_ids[0] == envelope.log_id(T0 + 3)


def test_all_is_settled_only_when_nothing_waits(outbox: Outbox, clock: Clock) -> None:
    clock.now_us += 50
    assert outbox.settled_us() == T0 + 50
    outbox.tick(*ticker())
    batch = outbox.next_batch()
    clock.now_us += 50
    assert outbox.settled_us() == 0
    outbox.applied(batch, 0.0)
    assert outbox.settled_us() == T0 + 100
