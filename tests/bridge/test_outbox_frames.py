"""Frames on their way through an outbox: the one of each event that is written, whatever becomes of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.items import ITEM_OVERHEAD_BYTES, MAX_DATA_BYTES
from agentexchange_schemas import FeedState, FeedStatus
from agentexchange_schemas.envelope import decode, encode, frame_of
from agentexchange_schemas.frames import FramedFields
from tests.bridge._kit import BufferLimits, candle, fresh_grant, make_outbox, order, ticker
from tests.bridge.test_outbox import T0, arguments, server_has

if TYPE_CHECKING:
    from agentexchange_bridge.batch import Batch
    from agentexchange_bridge.outbox import Outbox


def opened(**limits: Any) -> Outbox:
    box = make_outbox(wall=lambda: T0, keep_frames=True, **limits)
    box.reconcile(fresh_grant(), 0.0)
    return box


def framed(event: tuple[str, dict[str, Any]], frame: str) -> tuple[str, FramedFields]:
    topic, fields = event
    return topic, FramedFields(fields, frame)


def raws(batch: Batch | None) -> list[bytes]:
    assert batch is not None
    return arguments(batch)[-3 * len(batch.items) + 2 :: 3]


def frames(batch: Batch | None) -> list[str | None]:
    return [frame_of(raw) for raw in raws(batch)]


def test_every_kind_of_event_keeps_its_frame_and_what_has_none_has_none() -> None:
    box = opened()
    box.tick(*framed(ticker(), "tick"))
    box.tick(*ticker())
    box.candle(*framed(candle(closed=False), "forming"))
    box.candle(*framed(candle(closed=True), "closed"))
    box.candle(*candle(closed=True))
    box.order(*framed(order("o-1"), "order"))
    box.order(*framed(order("o-1", "filled"), "final order"))
    box.portfolio("portfolio", FramedFields({"total_equity": "1"}, "portfolio"))
    box.notices([FeedStatus(state=FeedState.LIVE, since=0)])
    batch = box.next_batch()
    expected = ["tick", None, "forming", "closed", None, "order", "final order", "portfolio", None]
    assert frames(batch) == expected
    assert [decode(raw).written_us for raw in raws(batch)] == [T0 + 8] * 9


@given(st.text(max_size=300), st.dictionaries(st.text(), st.text(), max_size=20))
def test_envelope_bytes_are_those_of_the_codec(frame: str, more: dict[str, str]) -> None:
    topic, fields = ticker()
    for name, value in more.items():
        fields.setdefault(name, value)
    box = opened()
    box.tick(topic, FramedFields(fields, frame))
    box.tick(topic, fields)
    event = (topic, 100, 1, 1771860645123, T0, fields, T0 + 1)
    first, second = raws(box.next_batch())
    assert first == encode(*event, frame=frame)
    assert second == encode(topic, 100, 2, 1771860645123, T0 + 1, fields, T0 + 1)


def test_without_the_setting_the_bytes_are_as_ever() -> None:
    with_it, without = opened(), make_outbox(wall=lambda: T0)
    without.reconcile(fresh_grant(), 0.0)
    with_it.tick(*ticker())
    without.tick(*framed(ticker(), "not kept"))
    assert raws(with_it.next_batch()) == raws(without.next_batch())


def test_of_conflated_ticks_the_frame_of_the_newest_is_written() -> None:
    box = opened(buffer=BufferLimits(ticks=2))
    for number in range(3):
        box.tick(*framed(ticker(price=str(number)), f"frame {number}"))
    assert frames(box.next_batch()) == ["frame 2"]


def test_what_is_encoded_anew_or_written_again_keeps_its_frame() -> None:
    box = opened()
    box.order(*framed(order("o-1"), "first"))
    assert frames(box.next_batch()) == ["first"]
    box.reconcile(server_has(box), 0.0)
    batch = box.next_batch()
    assert frames(batch) == ["first"]
    assert batch is not None
    box.applied(batch, 0.0)
    box.reconcile(server_has(box, log_name="another", received_us=0, seqs={}), 0.0)
    assert frames(box.next_batch())[0] == "first"


def test_what_is_stamped_anew_keeps_its_frame() -> None:
    box = opened()
    box.tick(*framed(ticker(), "ahead"))
    box.reconcile(server_has(box, log_floor_us=T0 + 10_000), 0.0)
    batch = box.next_batch()
    assert frames(batch)[-1] == "ahead"
    assert decode(raws(batch)[-1]).received_us > T0 + 10_000


def test_a_waiting_frame_counts_as_memory() -> None:
    with_it, without = opened(), opened()
    with_it.tick(*framed(ticker(), "x" * 1000))
    without.tick(*ticker())
    assert without.buffer.size_bytes > ITEM_OVERHEAD_BYTES
    assert with_it.buffer.size_bytes == without.buffer.size_bytes + len(b"\xa1f\xda\x03\xe8") + 1000 + len(b"\xa1d")


@pytest.mark.parametrize("fields_bytes", [1000, MAX_DATA_BYTES - 500])
def test_a_frame_that_does_not_fit_beside_its_fields_is_left_out(fields_bytes: int) -> None:
    box = opened()
    topic, fields = order("o-1")
    box.order(topic, FramedFields(fields | {"note": "y" * fields_bytes}, "x" * 1000))
    (raw,) = raws(box.next_batch())
    assert decode(raw).data["note"] == "y" * fields_bytes
    assert frame_of(raw) == ("x" * 1000 if fields_bytes == 1000 else None)
