from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agentexchange import EventMeta, FeedState, FeedStatus
from agentexchange_bridge.cli._print import EventPrinter, json_line, plain_line

TIME = datetime(2026, 2, 23, 15, 30, 45, 123456, tzinfo=UTC)
TICK = {"symbol": "BTCUSDT", "price": "64521.30000000", "timestamp": None, "quantity": "0.012"}


def meta(**changes: Any) -> EventMeta:
    known: dict[str, Any] = {
        "topic": "ticker:BTCUSDT", "scope": "m0", "epoch": 7, "seq": 42, "upstream_time": None, "received_time": TIME,
        "written_time": TIME, "delivered_time": TIME, "log_id": "1-2", "source": "live",
    }  # fmt: skip
    return EventMeta(**known | changes)


def printer(count: int | None = None) -> tuple[EventPrinter, list[None]]:
    calls: list[None] = []
    return EventPrinter(as_json=True, count=count, done=lambda: calls.append(None)), calls


def test_json_has_every_known_fact_and_the_fields_as_sent() -> None:
    assert json.loads(json_line(TICK, meta(upstream_time=TIME))) == {
        "topic": "ticker:BTCUSDT", "scope": "m0", "epoch": 7, "seq": 42, "log_id": "1-2", "source": "live",
        "upstream_time": "2026-02-23T15:30:45.123456Z", "received_time": "2026-02-23T15:30:45.123456Z",
        "written_time": "2026-02-23T15:30:45.123456Z", "data": TICK,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "ticker:BTCUSDT #42 price=64521.30000000 quantity=0.012"),
        ({"source": "latest"}, "ticker:BTCUSDT #42 [latest] price=64521.30000000 quantity=0.012"),
        ({"seq": None}, "ticker:BTCUSDT price=64521.30000000 quantity=0.012"),
    ],
)
def test_a_line_for_people(changes: dict[str, Any], line: str) -> None:
    assert plain_line(TICK, meta(**changes)).partition(" ")[2] == line


def test_it_stops_at_the_count_and_prints_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    events, done = printer(2)
    for _ in range(5):
        events.event(TICK, meta())
    assert capsys.readouterr().out.count("\n") == 2
    assert len(done) == 1
    events.raise_failure()


def test_what_goes_wrong_with_stdout_is_kept_for_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def isatty(self) -> bool:
            return False

        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            pass

    monkeypatch.setattr("sys.stdout", Gone())
    events, done = printer()
    events.event(TICK, meta())
    events.event(TICK, meta())
    assert len(done) == 1
    with pytest.raises(BrokenPipeError):
        events.raise_failure()


def test_the_state_of_the_feed_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    events, _ = printer()
    events.status(FeedStatus(state=FeedState.LIVE, since=TIME))
    events.status(
        FeedStatus(scope="m0", topic="ticker:X", state=FeedState.BLIND, since=TIME, cause="upstream_lost", message="so")
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "feed live\nfeed m0 ticker:X blind: upstream_lost, so\n"
