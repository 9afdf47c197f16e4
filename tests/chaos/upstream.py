"""The platform of a run, a process of its own: a sandbox exchange fed with numbered events, and a journal of them.

``python -m tests.chaos.upstream JOURNAL SEED RATE`` prints its port on a line, then obeys lines on stdin: ``go``
(generate once ticker:all, orders and portfolio are subscribed; answers ``going``), ``junk N``, ``quiet`` (generate no
more; answers with the number of events), ``end``. A journal line is ``[time in µs, topic, number, [connections]]``:
an event goes to each connection that is subscribed to it, and to nobody where there is none.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from agentexchange.testing import SandboxExchange

from .generator import CANDLE_TOPICS, JUNK, Generator
from .history import Sent

if TYPE_CHECKING:
    from agentexchange.testing import SandboxControl

    from .generator import Event

__all__ = ["API_KEY", "read_journal"]

API_KEY: Final = "ak_live_chaos_run"
TURN_S: Final = 0.004
MAX_CATCH_UP_S: Final = 0.5
"""A turn that comes later than this sends no more than this much of events at once."""

_WANTED: Final = ("ticker:all", "orders", "portfolio", *CANDLE_TOPICS)


def read_journal(path: Path) -> list[Sent]:
    """The journal, in the order of generation."""
    with path.open() as file:
        rows = [json.loads(line) for line in file]
    return [Sent(at, topic, n, tuple(connections)) for at, topic, n, connections in rows]


class Feed:
    """Generates at a rate, and writes down what went to whom.

    ``receivers`` is what the sandbox's journal adds to, within `push`: the connections that were still open.
    """

    def __init__(
        self, control: SandboxControl, receivers: list[int], journal: TextIO, generator: Generator, rate: float
    ) -> None:
        self._control = control
        self._journal = journal
        self._generator = generator
        self._rate = rate
        self._receivers = receivers
        self._junk = 0
        self.count = 0

    async def run(self) -> None:
        """Generate until cancelled."""
        clock = asyncio.get_running_loop().time
        last, owed = clock(), 0.0
        while True:
            await asyncio.sleep(TURN_S)
            now = clock()
            owed += min(now - last, MAX_CATCH_UP_S) * self._rate
            last = now
            self._turn(int(owed))
            owed -= int(owed)

    def junk(self, count: int) -> None:
        """Send junk frames to everybody."""
        for _ in range(count):
            self._junk += 1
            frame = JUNK[self._junk % len(JUNK)]
            self._control.push(frame, binary=self._junk % 7 == 0)

    def _turn(self, count: int) -> None:
        connections = self._control.connections
        lines = []
        for _ in range(count):
            event = self._generator.next(time.time())
            at_us = time.time_ns() // 1000
            wanted = "ticker:all" if event.topic.startswith("ticker:") else event.topic
            got = self._send(event, [each.id for each in connections if wanted in each.subscriptions])
            if event.n is not None:
                self.count += 1
                lines.append(json.dumps([at_us, event.topic, event.n, got], separators=(",", ":")) + "\n")
        self._journal.writelines(lines)
        self._journal.flush()

    def _send(self, event: Event, connections: list[int]) -> list[int]:
        self._receivers.clear()
        for connection in connections:
            self._control.push(event.frame, connection=connection)
        return list(self._receivers)


async def _commands() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _serve(journal: TextIO, seed: int, rate: float) -> None:
    receivers: list[int] = []
    sandbox = SandboxExchange(
        pairs=1,
        rate=0,
        api_keys=[API_KEY],
        push_candles=False,
        journal=lambda entry: receivers.extend(entry.connections),
    )
    async with sandbox:
        feed = Feed(sandbox.control, receivers, journal, Generator(seed), rate)
        _say(sandbox.port)
        commands = await _commands()
        generating: asyncio.Task[None] | None = None
        while line := (await commands.readline()).decode().split():
            match line:
                case ["go"]:
                    await sandbox.control.wait_for_subscriptions(*_WANTED, timeout=30)
                    generating = asyncio.create_task(feed.run())
                    _say("going")
                case ["junk", count]:
                    feed.junk(int(count))
                case ["quiet"]:
                    if generating is not None:
                        generating.cancel()
                        await asyncio.wait((generating,))
                    _say(feed.count)
                case ["end"]:
                    return


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    path, seed, rate = sys.argv[1:4]
    with Path(path).open("w") as journal:
        asyncio.run(_serve(journal, int(seed), float(rate)))


if __name__ == "__main__":
    main()
