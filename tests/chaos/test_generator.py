from __future__ import annotations

import json
from collections import Counter

import pytest

from agentexchange_schemas import FrameError
from agentexchange_schemas.upstream import Ack, EventFrame, parse
from tests.chaos.generator import CANDLE_TOPICS, JUNK, SYMBOLS, Generator
from tests.chaos.history import NUMBER_FIELD

NOW = 1_800_000_000.0


def test_the_same_seed_gives_the_same_events() -> None:
    one, other = Generator(3), Generator(3)
    assert [one.next(NOW) for _ in range(500)] == [other.next(NOW) for _ in range(500)]
    assert Generator(4).next(NOW) != Generator(3).next(NOW)


def test_every_event_is_read_as_what_it_is_with_its_number() -> None:
    generator = Generator(1)
    counts: Counter[str] = Counter()
    for _ in range(5000):
        event = generator.next(NOW)
        message = parse(json.dumps(event.frame).encode())
        assert isinstance(message, EventFrame)
        assert message.topic == event.topic
        assert message.fields.get(NUMBER_FIELD) == event.n
        if event.n is None:
            assert message.fields["is_closed"] is False
            continue
        counts[event.topic] += 1
        assert event.n == counts[event.topic]
    assert {"orders", "portfolio", *CANDLE_TOPICS} < counts.keys()
    assert counts[f"ticker:{SYMBOLS[0]}"] > 100 * max(1, counts[f"ticker:{SYMBOLS[29]}"]) / 2


@pytest.mark.parametrize("frame", JUNK, ids=range(len(JUNK)))
def test_junk_is_no_event(frame: bytes) -> None:
    try:
        message = parse(frame)
    except FrameError:
        return
    assert isinstance(message, Ack)
