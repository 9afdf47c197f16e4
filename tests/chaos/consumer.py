"""One consumer of a run, a process of its own: writes down every call of its handlers, at once.

``python -m tests.chaos.consumer SPEC URL KEY FILE NUMBER``. A line of the file is one write to the kernel, so that a
SIGKILL costs at most the line of a call that had not returned: ``["r", …]`` ready, ``["e", …]`` an event, ``["f", …]``
a FeedStatus, ``["s", …]`` counters, ``["x", …]`` the client's failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentexchange import AgentExchangeError, AgentExchangeWS
from agentexchange_schemas import FeedStatus

from .history import NUMBER_FIELD, Call, Incarnation, Told
from .roster import CLAIM_AFTER_S, Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange import EventMeta

__all__ = ["read_incarnation"]

STATS_EVERY_S: Final = 0.5
_OPTIONS: Final = {"group": "group", "resume": "resume"}


class Notebook:
    """Lines to a file; each is there when the call returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, kind: str, *values: Any) -> None:
        line = json.dumps([kind, time.time_ns() // 1000, *values], separators=(",", ":")) + "\n"
        os.write(self._file, line.encode())


def read_incarnation(path: Path, spec: Spec, number: int) -> Incarnation:
    """Read an incarnation's file; a last line that was cut off in the middle is let go."""
    found = Incarnation(
        consumer=spec.name,
        number=number,
        topics={topic: (topic,) for topic in spec.topics},
        ready_us=0,
        mode=spec.mode,
        name=spec.group,
    )
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            kind, at_us, *values = json.loads(line)
        except ValueError:
            break
        match kind:
            case "r":
                found.ready_us = at_us
            case "e":
                found.calls.append(Call(at_us, *values))
            case "f":
                found.told.append(Told(at_us, FeedStatus.from_fields(values[0])))
            case "s":
                found.conflated = values[0]
            case "x":
                found.failure = values[0]
    return found


def build(spec: Spec, url: str, key: str, notebook: Notebook) -> AgentExchangeWS:
    """A client that writes everything down."""
    options: dict[str, Any] = {_OPTIONS[spec.mode]: spec.group} if spec.mode in _OPTIONS else {}
    if spec.mode == "group":
        options["claim_after"] = CLAIM_AFTER_S
    ws = AgentExchangeWS(key, url, **options)
    for topic in spec.topics:
        ws.subscribe(topic, _handler(topic, notebook, is_sync=spec.is_sync))

    @ws.on_status()
    def on_status(status: FeedStatus) -> None:
        notebook.write("f", status.to_fields())

    return ws


def _handler(handler: str, notebook: Notebook, *, is_sync: bool) -> Callable[..., Any]:
    def note(data: dict[str, Any], meta: EventMeta) -> None:
        notebook.write("e", handler, meta.topic, data.get(NUMBER_FIELD), meta.seq, meta.epoch, meta.source)

    async def note_async(data: dict[str, Any], meta: EventMeta) -> None:
        note(data, meta)

    return note if is_sync else note_async


async def _count(ws: AgentExchangeWS, notebook: Notebook) -> None:
    while True:
        await asyncio.sleep(STATS_EVERY_S)
        _write_counters(ws, notebook)


def _write_counters(ws: AgentExchangeWS, notebook: Notebook) -> None:
    notebook.write("s", {stats.topic: stats.conflated for stats in ws.stats().handlers if stats.conflated})


async def _run(ws: AgentExchangeWS, notebook: Notebook) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ws.stop)
    counting = asyncio.create_task(_count(ws, notebook))
    notebook.write("r")
    try:
        await ws.connect()
    except AgentExchangeError as exc:
        notebook.write("x", f"{type(exc).__name__}: {exc}")
    finally:
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
        _write_counters(ws, notebook)


def main() -> None:
    spec, url, key, path = sys.argv[1:5]
    notebook = Notebook(Path(path))
    asyncio.run(_run(build(Spec.from_json(spec), url, key, notebook), notebook))


if __name__ == "__main__":
    main()
