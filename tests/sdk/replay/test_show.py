from __future__ import annotations

import asyncio
import io
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import ReplayProgress
from agentexchange.replay import _bar
from agentexchange.replay._show import line_of, show
from tests.sdk._timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 22, 9, 55, 18, tzinfo=UTC)


class Player:
    def __init__(self) -> None:
        self.progress = ReplayProgress(share=0.25, time=NOW, events=1234, events_per_s=5000.4)
        self.samples = 0

    def sample(self) -> None:
        self.samples += 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def shown(player: Any, **options: Any) -> None:
    timeline = Timeline()
    showing = asyncio.create_task(show(player, sleep=timeline.sleep, **options))
    for _ in range(3):
        await timeline.until_asleep(0.2)
        timeline.advance(0.2)
        await asyncio.sleep(0)
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)


async def test_it_tells_five_times_a_second_and_at_the_end() -> None:
    player, told = Player(), []
    await shown(player, on_progress=told.append, has_bar=False)
    assert told == [player.progress] * 5
    assert player.samples == 5


@pytest.mark.parametrize(("make", "has_bar"), [(Terminal, None), (io.StringIO, True)])
async def test_a_line_on_a_terminal_or_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, *, make: Callable[[], io.StringIO], has_bar: bool | None
) -> None:
    stderr = make()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(_bar, "find_spec", lambda _: None)
    await shown(Player(), on_progress=None, has_bar=has_bar)
    assert stderr.getvalue().count(f"replay {line_of(Player().progress)}") == 5
    assert stderr.getvalue().endswith("\n")


async def test_a_bar_where_rich_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    await shown(Player(), on_progress=None, has_bar=None)
    assert "1,234 events" in stderr.getvalue()


async def test_what_handlers_print_goes_where_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr, stdout = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("TERM", "xterm")
    await shown(Player(), on_progress=lambda _: sys.stdout.write("printed\n"), has_bar=None)
    assert stdout.getvalue().count("printed") == 5
    assert "printed" not in stderr.getvalue()


@pytest.mark.parametrize(("make", "has_bar"), [(io.StringIO, None), (Terminal, False)])
async def test_nothing_where_no_one_looks(
    monkeypatch: pytest.MonkeyPatch, *, make: Callable[[], io.StringIO], has_bar: bool | None
) -> None:
    stderr = make()
    monkeypatch.setattr(sys, "stderr", stderr)
    await shown(Player(), on_progress=None, has_bar=has_bar)
    assert stderr.getvalue() == ""


def test_progress_in_one_line() -> None:
    assert line_of(Player().progress) == " 25% 2026-11-22 09:55:18 1,234 events, 5,000/s"
    assert line_of(ReplayProgress(is_paused=True)) == "  0% 0 events, paused"
    assert line_of(ReplayProgress(behind_s=2.34)).endswith(", 2.3 s behind")
    assert line_of(ReplayProgress(is_away=True)).endswith(", 0/s, Redis is away")
