"""Any recording, any choice of handlers: the calls are its events in their order, and the same each time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange import AgentExchangeWS, EventMeta, FeedStatus, Topic
from agentexchange.recording import Lane, Recording
from agentexchange_schemas.envelope import encode
from tests.sdk.recording._samples import START_US, write

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LANES = {
    Lane("m0", "log", "a"): ("ticker:A", "ticker:B", "status"),
    Lane("m1", "log", "b"): ("ticker:C", "ticker:D"),
    Lane("m0", "log:candles", "a"): ("candles:A:1m", "candles:B:5m"),
    Lane("a-" + "0" * 32, "log", "c"): ("orders", "portfolio"),
}
TOPICS = ["ticker:all", "ticker:A", "ticker:C", "ticker:D", "candles:A:1m", "orders", "portfolio", "status"]

recordings = st.lists(
    st.tuples(st.sampled_from(list(LANES)), st.integers(0, 1), st.integers(0, 3), st.booleans()), max_size=80
)
handlers = st.lists(st.tuples(st.sampled_from(TOPICS), st.booleans()), min_size=1, max_size=6)


def recorded(path: Path, drawn: list[tuple[Lane, int, int, bool]]) -> Path:
    """Each drawn one is an event: of a lane, one of its topics, so long after the last, perhaps beginning a block."""
    seqs: dict[str, int] = {}
    parts: list[tuple[Lane, list[bytes]]] = []
    at_us = START_US
    for lane, choice, after, ends in drawn:
        at_us += after
        topic = LANES[lane][choice]
        seqs[topic] = seqs.get(topic, 0) + 1
        data = (
            {"number": len(parts)}
            if topic != "status"
            else {"scope": "m0", "state": "live", "since": "2026-01-01T00:00:00Z"}
        )
        raw = encode(topic, 1, seqs[topic], None, at_us, data)
        if ends or not parts or parts[-1][0] != lane:
            parts.append((lane, []))
        parts[-1][1].append(raw)
    return write(path, parts)


def replayed(path: Path, chosen: list[tuple[str, bool]], **options: Any) -> list[Any]:
    """What each handler was called with, in the order of the calls."""
    ws = AgentExchangeWS(base_url=f"file://{path}?speed=0")
    calls: list[Any] = []
    for number, (topic, is_async) in enumerate(chosen):
        if topic == "status":
            register = ws.on_status()

            def note(status: FeedStatus, number: int = number) -> None:
                calls.append((number, "status", status))
        else:
            register = lambda handler, topic=topic: ws.subscribe(topic, handler)  # noqa: E731

            def note(data: dict[str, Any], meta: EventMeta, number: int = number) -> None:  # type: ignore[misc]
                calls.append((number, meta.topic, data, meta))

        register(_async(note) if is_async else note)
    ws.replay(progress_bar=False, **options)
    asyncio.run(ws.connect())
    return calls


def _async(note: Any) -> Any:
    if note.__code__.co_varnames[1] == "meta":

        async def with_meta(data: Any, meta: EventMeta) -> None:
            note(data, meta)

        return with_meta

    async def without(data: Any) -> None:
        note(data)

    return without


def wanted(
    path: Path, chosen: list[tuple[str, bool]], start_us: int | None = None
) -> list[tuple[int, str, int | None]]:
    """What should come, straight from the recording: handlers of events in the order of their registration."""
    order = sorted(range(len(chosen)), key=lambda number: chosen[number][0] == "status")
    with Recording(path) as recording:
        events = list(recording.events(start_us))
    return [
        (number, event.envelope.topic, event.envelope.seq)
        for event in events
        for number in order
        if takes(chosen[number][0], event.envelope.topic)
    ]


def takes(handler: str, topic: str) -> bool:
    if handler == "status" or topic == "status":
        return handler == topic
    return handler == topic or (Topic.parse(handler).is_wildcard and topic.startswith("ticker:"))


@settings(max_examples=60, deadline=None)
@given(drawn=recordings, chosen=handlers)
def test_the_calls_are_the_recordings_events_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], chosen: list[tuple[str, bool]]
) -> None:
    path = recorded(tmp_path_factory.mktemp("order") / "t.axlog", drawn)
    calls = replayed(path, chosen)
    recorded_ones = [call for call in calls if call[1] != "status" or call[2].message is None]  # none is inferred
    got = [(call[0], call[1], call[3].seq if len(call) == 4 else None) for call in recorded_ones]
    expected = [(number, topic, None if topic == "status" else seq) for number, topic, seq in wanted(path, chosen)]
    assert got == expected


@settings(max_examples=25, deadline=None)
@given(drawn=recordings, chosen=handlers, start=st.integers(0, 60))
def test_two_runs_are_equal_metadata_included_and_a_start_skips_only(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], chosen: list[tuple[str, bool]], start: int
) -> None:
    path = recorded(tmp_path_factory.mktemp("twice") / "t.axlog", drawn)
    first = replayed(path, chosen)
    assert replayed(path, chosen) == first
    is_before = [
        call for call in first if len(call) == 4 and call[3].received_time.timestamp() * 1e6 < START_US + start - 0.5
    ]
    later = replayed(path, chosen, start=f"{START_US // 1000}-{start}")
    assert [call for call in later if len(call) == 4] == [call for call in first if len(call) == 4][len(is_before) :]
