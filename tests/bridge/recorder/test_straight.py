from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.recording import Recording, RotatingWriter, WriterOptions
from agentexchange_bridge.recorder._straight import StraightSink
from agentexchange_schemas import FeedState, FeedStatus, Topic, account_scope
from agentexchange_schemas.envelope import frame_of
from agentexchange_schemas.frames import FramedFields

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = account_scope("ak_live_recorded")
NOW_US = 1_795_341_318_000_000


def sink_into(writer: RotatingWriter, told: list[str], *topics: str) -> StraightSink:
    return StraightSink(
        writer,
        account=ACCOUNT,
        topics=[Topic.parse(topic) for topic in topics],
        tell=told.append,
        wall=lambda: NOW_US,  # a clock that stands still
    )


async def test_events_and_states_become_what_a_bridge_would_have_logged(tmp_path: Path) -> None:
    told: list[str] = []
    with RotatingWriter(tmp_path / "day.axlog", options=WriterOptions(fsync="never")) as writer:
        sink = sink_into(writer, told, "ticker:all", "orders")
        sink.status(FeedStatus(state=FeedState.LIVE, since=datetime.now(UTC)))
        sink.event("ticker:A", {"price": "1", "timestamp": "2026-11-22T10:00:00Z"})
        sink.event("candles:A:1m", {"close": "1", "is_closed": False})
        sink.event("candles:A:1m", {"close": "2", "is_closed": True})
        sink.event("orders", {"order_id": "1", "status": "new"})
        sink.status(FeedStatus(state=FeedState.UNAVAILABLE, topic="ticker:X", since=datetime.now(UTC)))
        sink.event("ticker:A", {"price": "x" * 300_000})
        sink.event("ticker:A", {"price": "2"})
    with Recording(tmp_path / "day.axlog") as recording:
        events = list(recording.events())
        assert {(lane.scope, lane.log) for lane in recording.lanes} == {
            ("m0", "log"), ("m0", "log:candles"), (ACCOUNT, "log"),
        }  # fmt: skip
    found = [(event.scope, event.envelope.topic, event.envelope.seq) for event in events]
    assert found == [
        ("m0", "status", 1), (ACCOUNT, "status", 1), ("m0", "ticker:A", 1), ("m0", "candles:A:1m", 1),
        (ACCOUNT, "orders", 1), ("m0", "status", 2), ("m0", "ticker:A", 2),
    ]  # fmt: skip
    assert [event.envelope.received_us for event in events] == list(range(NOW_US, NOW_US + 7))
    assert events[1].envelope.data["scope"] == ACCOUNT
    assert events[2].envelope.upstream_ms == 1_795_341_600_000
    assert sink.too_large == 1
    assert told == ["feed live", told[1]]
    assert "left out" in told[1]


async def test_an_event_that_knows_its_frame_is_recorded_with_it(tmp_path: Path) -> None:
    fields = {"price": "1", "timestamp": None}
    with RotatingWriter(tmp_path / "day.axlog", options=WriterOptions(fsync="never")) as writer:
        sink = sink_into(writer, [], "ticker:all")
        sink.event("ticker:A", FramedFields(fields, "as it came"))
        sink.event("ticker:A", fields)
    with Recording(tmp_path / "day.axlog") as recording:
        events = list(recording.events())
    assert [frame_of(event.raw) for event in events] == ["as it came", None]
    assert [event.envelope.data for event in events] == [fields, fields]


async def test_a_file_that_cannot_be_written_ends_the_run_not_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RotatingWriter(tmp_path / "day.axlog") as writer:
        sink = sink_into(writer, [], "ticker:all")

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(writer, "add", full)
            sink.event("ticker:A", {"price": "1"})
            sink.event("ticker:A", {"price": "2"})
        with pytest.raises(OSError, match="No space left"):
            await sink.failed
