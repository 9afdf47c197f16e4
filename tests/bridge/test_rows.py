from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentexchange import EventMeta
from agentexchange_bridge.rows import iso, json_line, row_of, row_of_event
from agentexchange_schemas.envelope import Envelope

TIME = datetime(2026, 2, 23, 15, 30, 45, 123456, tzinfo=UTC)
US = int(TIME.timestamp()) * 1_000_000 + 123456
TICK = {"symbol": "BTCUSDT", "price": "64521.30000000", "timestamp": None, "quantity": "0.012"}
EXPECTED = {
    "topic": "ticker:BTCUSDT", "scope": "m0", "epoch": 7, "seq": 42, "log_id": f"{US // 1000}-456", "source": "live",
    "upstream_time": "2026-02-23T15:30:45.123000Z", "received_time": "2026-02-23T15:30:45.123456Z",
    "written_time": "2026-02-23T15:30:45.123456Z", "data": TICK,
}  # fmt: skip


def meta(**changes: Any) -> EventMeta:
    known: dict[str, Any] = {
        "topic": "ticker:BTCUSDT", "scope": "m0", "epoch": 7, "seq": 42,
        "upstream_time": TIME.replace(microsecond=123000), "received_time": TIME, "written_time": TIME,
        "delivered_time": TIME, "log_id": f"{US // 1000}-456", "source": "live",
    }  # fmt: skip
    return EventMeta(**known | changes)


def test_json_has_every_known_fact_and_the_fields_as_sent_wherever_an_event_was_read() -> None:
    assert json.loads(json_line(row_of_event(TICK, meta()))) == EXPECTED
    envelope = Envelope("ticker:BTCUSDT", 7, 42, US // 1000, US, TICK, US)
    assert json.loads(json_line(row_of("m0", envelope))) == EXPECTED | {"source": "recorded"}


def test_what_is_not_known_is_null() -> None:
    straight = meta(scope=None, epoch=None, seq=None, upstream_time=None, written_time=None, log_id=None)
    found = json.loads(json_line(row_of_event(TICK, straight)))
    assert [name for name, value in found.items() if value is None] == [
        "scope", "epoch", "seq", "upstream_time", "written_time", "log_id",
    ]  # fmt: skip


@given(st.integers(0, 253_402_300_799_999_999))
def test_a_time_reads_back_as_it_was(us: int) -> None:
    text = iso(us)
    assert text is not None
    assert datetime.fromisoformat(text) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
