from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest

from agentexchange import EventMeta, FeedState, FeedStatus
from agentexchange_bridge.cli._print import EventPrinter
from agentexchange_bridge.cli._shapes import KINDS, shape_of
from agentexchange_bridge.cli._wanted import Wanted
from agentexchange_bridge.where import Where
from agentexchange_schemas.envelope import encode
from tests.sdk.recording._samples import ticks

TIME = datetime(2026, 2, 23, 15, 30, 45, 123456, tzinfo=UTC)
QUIET = Wanted(kinds=frozenset({"ticker"}))
TICK = {"symbol": "BTCUSDT", "price": "64521.30000000", "timestamp": None, "quantity": "0.012"}


def meta(**changes: Any) -> EventMeta:
    known: dict[str, Any] = {
        "topic": "ticker:BTCUSDT", "scope": "m0", "epoch": 7, "seq": 42, "upstream_time": None, "received_time": TIME,
        "written_time": TIME, "delivered_time": TIME, "log_id": "1-2", "source": "live",
    }  # fmt: skip
    return EventMeta(**known | changes)


def printer(
    count: int | None = None, *, wanted: Wanted = QUIET, shape: str = "jsonl"
) -> tuple[EventPrinter, list[None]]:
    calls: list[None] = []
    made = shape_of(shape, KINDS, dates=False)
    return EventPrinter(shape=made, wanted=wanted, count=count, done=lambda: calls.append(None)), calls


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
    assert (len(done), events.is_done) == (1, True)
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


def test_the_state_is_an_event_where_notices_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    events, _ = printer(wanted=Wanted())
    events.status(FeedStatus(scope="m0", state=FeedState.LIVE, since=TIME))
    captured = capsys.readouterr()
    assert captured.err == ""
    found = json.loads(captured.out)
    assert (found["topic"], found["scope"], found["seq"], found["data"]["state"]) == ("status", "m0", None, "live")


def test_only_what_is_wanted_counts(capsys: pytest.CaptureFixture[str]) -> None:
    events, done = printer(2, wanted=Wanted(kinds=QUIET.kinds, where=Where.parse("price > 5")))
    events.event({"status": "new"}, meta(topic="orders"))
    for price in range(10):
        events.event({"price": str(price)}, meta())
    assert [json.loads(line)["data"]["price"] for line in capsys.readouterr().out.splitlines()] == ["6", "7"]
    assert len(done) == 1


def test_a_run_of_a_log_is_printed_up_to_the_count_and_its_notices_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    events, done = printer(7)
    notice = encode("status", 1, 1, None, 1, {"scope": "m0", "state": "blind", "since": "2026-11-22T10:00:00Z"})
    odd = ticks(1)[0].replace(b"\xa1d\x83", b"\xa1d\x93")  # a list in place of the fields
    events.log("m0", [notice, encode("status", 1, 1, None, 1, {"odd": 1}), odd, *ticks(5)], "recorded")
    events.log("m0", ticks(5), "recorded")
    captured = capsys.readouterr()
    found = [json.loads(line) for line in captured.out.splitlines()]
    assert [event["seq"] for event in found] == [1, 2, 3, 4, 5, 1, 2]
    assert {(event["scope"], event["source"]) for event in found} == {("m0", "recorded")}
    told = captured.err.splitlines()
    assert told[0] == "feed m0 blind"
    assert told[1].startswith("m0: what is no event is left out: notice field ")
    assert len(told) == 2
    assert len(done) == 1


def test_csv_begins_with_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    events, _ = printer(shape="csv")
    events.event(TICK, meta())
    events.event(TICK, meta())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["topic", "ticker:BTCUSDT", "ticker:BTCUSDT"]


def test_a_terminal_gets_colours_and_the_same_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    events, _ = printer(shape="table")
    events.event(TICK | {"note": "[bold]"}, meta())
    text = terminal.getvalue()
    assert "\x1b[1mticker:BTCUSDT" in text
    assert re.sub(r"\x1b\[[\d;]*m", "", text).split()[1:] == [
        "ticker:BTCUSDT", "#42", "price=64521.30000000", "quantity=0.012", "note=[bold]",
    ]  # fmt: skip
