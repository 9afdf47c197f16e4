from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agentexchange import RecordingError
from agentexchange.recording import LaneRun
from agentexchange.replay import _reader
from agentexchange.replay._reader import Reader
from tests.sdk.recording._samples import ACCOUNT, MARKET, tick, ticks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def runs(*given: LaneRun, error: Exception | None = None) -> AsyncIterator[LaneRun]:
    for run in given:
        yield run
    if error is not None:
        raise error


async def all_of(reader: Reader) -> list[tuple[str, int | None]]:
    seen = []
    while (part := await reader.next()) is not None:
        seen += [(part.scope, envelope.seq) for envelope in part.envelopes]
    return seen


async def test_events_come_decoded_in_order_with_their_scope() -> None:
    reader = Reader(runs(LaneRun(MARKET, ticks(1000)), LaneRun(ACCOUNT, [tick(5)]), LaneRun(MARKET, [tick(6)])))
    seen = await all_of(reader)
    assert seen == [*(("m0", seq) for seq in range(1, 1001)), (ACCOUNT.scope, 6), ("m0", 7)]
    assert await reader.next() is None


async def test_what_is_no_envelope_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    assert await all_of(Reader(runs(LaneRun(MARKET, [b"junk", tick(0), b"more"]), LaneRun(MARKET, [b"junk"])))) == [
        ("m0", 1)
    ]
    assert caplog.text.count("no envelope") == 1


async def test_an_error_comes_behind_what_was_read() -> None:
    reader = Reader(runs(LaneRun(MARKET, ticks(3)), error=RecordingError("damaged")))
    first = await reader.next()
    assert first is not None
    assert len(first.envelopes) == 3
    with pytest.raises(RecordingError):
        await reader.next()


async def test_it_reads_ahead_so_far_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reader, "_AHEAD_BYTES", 3000)
    read = 0

    async def counted() -> AsyncIterator[LaneRun]:
        nonlocal read
        for number in range(100):
            read += 1
            yield LaneRun(MARKET, ticks(10)[number % 10 :])

    reader = Reader(counted())
    for _ in range(100):
        await asyncio.sleep(0)
    assert 0 < read < 10
    assert len(await all_of(reader)) == 550
    assert read == 100


async def test_closed_it_ends_the_reading() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[LaneRun]:
        try:
            while True:
                yield LaneRun(MARKET, ticks(100))
        finally:
            ended.set()

    reader = Reader(endless())
    assert await reader.next() is not None
    await reader.close()
    await reader.close()
    assert ended.is_set()
