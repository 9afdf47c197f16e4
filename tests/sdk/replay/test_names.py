from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange.recording import EventName, moment_of
from agentexchange.replay import FileSource, moment_in
from agentexchange_schemas.envelope import log_id
from tests.sdk.recording._samples import MARKET, START_US, ticks, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ticker:BTCUSDT@123", EventName("ticker:BTCUSDT", 123)),
        (" ticker:btcusdt@1 ", EventName("ticker:BTCUSDT", 1)),
        ("candles:BTCUSDT:1m@7", EventName("candles:BTCUSDT:1m", 7)),
        ("orders@9", EventName("orders", 9)),
        ("status@2", EventName("status", 2)),
    ],
)
def test_an_event_is_named_by_its_topic_and_number(text: str, name: EventName) -> None:
    assert EventName.parse(text) == name
    assert EventName.parse(str(name)) == name
    assert moment_of(text, now_us=0) == moment_of(name, now_us=0) == name


@pytest.mark.parametrize(
    "text",
    ["ticker:BTCUSDT@", "@1", "ticker:BTCUSDT@0", "ticker:BTCUSDT@-1", "ticker:all@1", "price@1", "orders@1e3",
     "orders@" + "9" * 17, "orders@²", ""],
)  # fmt: skip
def test_what_names_no_event_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write its topic and number, ticker:BTCUSDT@123"):
        EventName.parse(text)


@given(st.text(max_size=80))
def test_any_other_text_is_a_moment_or_a_value_error(text: str) -> None:
    try:
        moment = moment_of(text, now_us=10**15)
    except ValueError as exc:
        assert "write " in str(exc)
    else:
        assert isinstance(moment, EventName) or moment >= 0


async def test_a_moment_in_a_source_is_a_time_or_where_the_event_is(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10))])
    async with FileSource(path) as source:
        assert await moment_in(source, "ticker:BTCUSDT@4") == START_US + 3000
        assert await moment_in(source, log_id(START_US + 7)) == START_US + 7
        assert await moment_in(source, "10m ago", now_us=START_US) == START_US - 600_000_000
        with pytest.raises(ValueError, match="no event ticker:BTCUSDT@11 in what was recorded"):
            await moment_in(source, "ticker:BTCUSDT@11")
