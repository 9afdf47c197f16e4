"""How far a served recording is, as the command shows it."""

from __future__ import annotations

import asyncio
import io
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from agentexchange.serving import ServedProgress
from agentexchange_bridge.cli._progress import line_of, show, shown
from tests.sdk._timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

TIME = datetime(2026, 11, 22, 9, 55, 18, tzinfo=UTC)


def at(events: int, *, positions: int = 1) -> ServedProgress:
    return ServedProgress(clients=2, positions=positions, share=0.25, time=TIME if positions else None, events=events)


async def told(states: list[ServedProgress], *, has_bar: bool, every_s: float) -> list[str]:
    timeline, lines = Timeline(), list[str]()
    coming: Iterator[ServedProgress] = iter(states)
    showing = asyncio.create_task(
        show(lambda: next(coming), lines.append, has_bar=has_bar, clock=timeline.clock, sleep=timeline.sleep)
    )
    for _ in states[1:]:
        await timeline.until_asleep(every_s)
        timeline.advance(every_s)
        await asyncio.sleep(0)
    await timeline.until_asleep(every_s)
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)
    return lines


async def test_a_line_every_ten_seconds_in_which_anything_is_played() -> None:
    states = [at(0, positions=0), at(0, positions=0), at(5_000), at(55_000), at(56_000, positions=0)]
    states += [at(56_000, positions=0)] * 3
    assert await told(states, has_bar=False, every_s=10.0) == [
        "25% 2026-11-22 09:55:18 5,000 events, 500/s, 2 clients",
        "25% 2026-11-22 09:55:18 55,000 events, 5,000/s, 2 clients",
        "56,000 events, 100/s, 2 clients",
    ]


async def test_a_bar_on_a_terminal_and_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr("agentexchange.replay._bar.find_spec", lambda _: None)
    assert await told([at(0), at(1_000), at(2_000)], has_bar=True, every_s=0.2) == []
    assert stderr.getvalue().count("\r\x1b[Kserve 25% 2026-11-22 09:55:18") == 2
    assert "2,000 events, 5,000/s, 2 clients" in stderr.getvalue()
    assert stderr.getvalue().endswith("\n")


async def test_it_ends_with_what_it_is_shown_for() -> None:
    before = asyncio.all_tasks()
    async with shown(ServedProgress, pytest.fail):
        assert {task.get_name() for task in asyncio.all_tasks() - before} == {"progress"}
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_one_client_is_one() -> None:
    assert line_of(ServedProgress(clients=1), 0.0) == "0 events, 0/s, 1 client"
