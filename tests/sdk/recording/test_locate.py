from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.recording import EventName, Lane, Recording
from agentexchange_schemas.envelope import encode
from tests.sdk.recording._samples import CANDLES, MARKET, START_US, ticks, write

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def event(topic: str, seq: int, at: int, *, epoch: int = 7) -> bytes:
    return encode(topic, epoch, seq, None, START_US + at, {"price": "1"})


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_each_event_is_found_and_no_other(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    topics = data.draw(st.lists(st.sampled_from(["ticker:A", "ticker:B", "ticker:RARE"]), max_size=60))
    seqs = {"ticker:A": 100, "ticker:B": 0, "ticker:RARE": 7}
    blocks: list[list[bytes]] = [[]]
    places = {}
    for at, topic in enumerate(topics):
        seqs[topic] += 1
        places[EventName(topic, seqs[topic])] = START_US + at
        blocks[-1].append(event(topic, seqs[topic], at))
        if data.draw(st.integers(0, 4)) == 0:
            blocks.append([])
    path = write(tmp_path_factory.mktemp("locate") / "t.axlog", [(MARKET, block) for block in blocks if block])
    with Recording(path) as recording:
        for name, received_us in places.items():
            found = recording.locate(name)
            assert found is not None
            assert (found.topic, found.seq, found.received_us) == (*name, received_us)
        for name in (EventName("ticker:A", 100), EventName("ticker:B", seqs["ticker:B"] + 1), EventName("orders", 1)):
            assert recording.locate(name) is None


def test_of_two_lives_of_a_log_the_newest_epoch_counts(tmp_path: Path) -> None:
    newer = Lane("m0", "log", "f" * 16)
    content = [(MARKET, [event("ticker:A", 1, 0)]), (newer, [event("ticker:A", 1, 50, epoch=9)])]
    with Recording(write(tmp_path / "t.axlog", content)) as recording:
        found = recording.locate(EventName("ticker:A", 1))
    assert found is not None
    assert (found.epoch, found.received_us) == (9, START_US + 50)


def test_a_number_that_was_given_twice_in_one_log_is_that_of_the_newer_epoch(tmp_path: Path) -> None:
    first = [event("ticker:A", seq, seq) for seq in range(1, 10)]
    again = [event("ticker:A", seq, seq + 10, epoch=8) for seq in range(8, 12)]
    with Recording(write(tmp_path / "t.axlog", [(MARKET, first), (MARKET, again)])) as recording:
        found = recording.locate(EventName("ticker:A", 8))
    assert found is not None
    assert found.epoch == 8


def test_it_reads_few_blocks_of_many(tmp_path: Path) -> None:
    all_ticks = ticks(2000)
    content = [(MARKET, all_ticks[at : at + 10]) for at in range(0, 2000, 10)]
    content.append((CANDLES, [event("candles:BTCUSDT:1m", 1, 0)]))
    with Recording(write(tmp_path / "t.axlog", content)) as recording:
        loaded = []
        load = recording._load
        recording._load = lambda block: loaded.append(block) or load(block)  # type: ignore[method-assign]
        found = recording.locate(EventName("ticker:BTCUSDT", 1234))
    assert found is not None
    assert found.received_us == START_US + 1_233_000
    assert len(loaded) <= 12
