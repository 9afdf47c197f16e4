"""Runs the demonstration: watch for a while, let everything come to rest, compare."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentexchange._urls import redis_url
from agentexchange.redis import RespStream
from agentexchange.testing import DEMO_KEY
from agentexchange_schemas import Layout, account_scope
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

from ._compare import Check, Record, compare
from ._stage import http_get, start_stage
from ._view import Figures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._stage import Stage
    from ._view import View

__all__ = ["MAX_SECONDS", "DemoOptions", "run_demo"]

MAX_SECONDS: Final = 3600
_SESSIONS: Final = 2  # one for the market, one for the account
_REST_S: Final = 15.0  # consumers have this long to take what is under way
_REST_REPORTS: Final = 3  # reports of a consumer in which nothing more has come
_POLL_S: Final = 0.05
_PAGE: Final = 1000  # log entries per request


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How long to show it.

    Raises:
        ValueError: seconds outside 1 to 3,600.
    """

    seconds: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds must be 1 to {MAX_SECONDS}, not {self.seconds:g}")


async def run_demo(options: DemoOptions, view: View, stop: asyncio.Event) -> list[Check]:
    """Show it until the time is up or ``stop`` is set, and return what the comparison found.

    Where ``stop`` was set before all was up, nothing is shown and nothing compared.
    Everything that was started is ended when this returns or raises.

    Raises:
        DemoError: a process did not start, or ended in between.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentexchange-demo-")))
        stage = await start_stage(stack, folder)
        if stop.is_set():
            return []
        with view:
            sessions = await _watch(stage, options, view, stop)
        await _come_to_rest(stage)
        return await _judge(stage, sessions)


async def _watch(stage: Stage, options: DemoOptions, view: View, stop: asyncio.Event) -> int:
    """Show figures; returns the number of upstream sessions."""
    began = time.monotonic()
    rates = _Rates()
    sessions = 0
    while (elapsed := time.monotonic() - began) < options.seconds and not stop.is_set():
        _check_alive(stage)
        sessions = await _upstream_sessions(stage) or sessions
        reports = {role: stage.reports[role] for role in stage.consumers if role in stage.reports}
        pids = {role: process.pid for role, process in stage.consumers.items()}
        if reports:
            view.update(Figures(elapsed, sessions, reports, rates.of(reports), pids))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(view.interval_s, options.seconds))
    _check_alive(stage)
    return sessions


def _check_alive(stage: Stage) -> None:
    for process in stage.processes:
        if process.has_ended:
            raise process.failure("ended")


async def _upstream_sessions(stage: Stage) -> int:
    page = await http_get(stage.http, "/metrics")
    found = re.findall(r"^agentexchange_bridge_upstream_sessions_total\{.*\} (\S+)", page, re.MULTILINE)
    return sum(int(float(count)) for count in found)


class _Rates:
    """Events per second, smoothed over the last few reports."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int, float]] = {}

    def of(self, reports: dict[str, dict[str, int]]) -> dict[str, float]:
        now = time.monotonic()
        for role, report in reports.items():
            then, events, rate = self._seen.get(role, (now, report["events"], 0.0))
            if now - then >= 1.0:
                rate = (report["events"] - events) / (now - then)
                then, events = now, report["events"]
            self._seen[role] = (then, events, rate)
        return {role: self._seen[role][2] for role in reports}


async def _come_to_rest(stage: Stage) -> None:
    """End the source, let the bridge write what it holds, and the consumers take it; then end those."""
    await stage.sandbox.end()
    await stage.bridge.end()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REST_S):
            await _until_quiet(stage)
    await asyncio.gather(*(process.end() for process in stage.consumers.values()))


async def _until_quiet(stage: Stage) -> None:
    """Counted in the consumers' own reports, not in seconds: a starved machine is no rest."""
    enough = {role: report["number"] + _REST_REPORTS for role, report in stage.reports.items()}
    while not all(  # noqa: ASYNC110 - figures of other processes
        report["number"] >= enough.get(role, 0) and report["idle"] >= _REST_REPORTS
        for role, report in stage.reports.items()
    ):
        await asyncio.sleep(_POLL_S)


async def _judge(stage: Stage, sessions: int) -> list[Check]:
    records = {}
    for role, process in stage.consumers.items():
        file = stage.record_of(role)
        if not file.exists():
            raise process.failure("left no record")
        records[role] = Record.from_json(json.loads(file.read_text(encoding="utf-8")))
    one = Check("upstream", passed=sessions == _SESSIONS, found=f"{sessions} sessions for {len(records)} processes")
    return [one, *compare(records, await _read_logs(stage.redis))]


async def _read_logs(url: str) -> Record:
    """Every event that Redis holds."""
    layout, record = Layout(), Record()
    stream = await RespStream.connect(redis_url(url))
    try:
        for scope in (*layout.market_scopes, account_scope(DEMO_KEY)):
            async for raw in _entries(stream, layout.log(scope)):
                envelope = decode(raw)
                if envelope.topic != STATUS_TOPIC and envelope.seq is not None:
                    record.add(envelope.topic, envelope.seq, envelope.data)
    finally:
        stream.close()
    return record


async def _entries(stream: RespStream, log: str) -> AsyncIterator[bytes]:
    after = b"-"
    while page := await stream.command("XRANGE", log, after, "+", "COUNT", _PAGE):
        for _, fields in page:
            yield fields[1]
        after = b"(" + page[-1][0]
