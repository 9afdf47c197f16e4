"""RecordedExchange: a recording played as the platform itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Unpack

from agentexchange.replay import FileSource
from agentexchange.testing._door import Door
from agentexchange.testing._observe import Observations
from agentexchange.testing._rest import RestDesk
from agentexchange.testing._server import LocalExchange
from agentexchange_schemas.envelope import STATUS_TOPIC

from ._control import RecordedControl
from ._keys import Keys
from ._options import RecordedKeywords, RecordedOptions
from ._player import Timing
from ._program import Program, utc
from ._stage import Stage

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ._stage import ServedProgress

__all__ = ["RecordedExchange"]


class RecordedExchange(LocalExchange):
    """A recording served as the platform's own WebSocket; ``async with`` starts and stops it.

    It is as strict as `agentexchange.testing.SandboxExchange`, whose server it is, and sends the recorded events as the
    platform sent them: in the recorded order and spacing, to whoever has subscribed to them. Every connection has a
    position of its own, which begins when its first subscriptions are in (0.1 s after the last one); a later
    subscription gets what comes from there on. A client that reads slowly slows its own position, and misses nothing.

    Args:
        path: the ``.axlog`` file; further ones, such as a recorder's rotated files, are played as one with it.
        speed: recorded seconds in a second; 0 for as fast as the client reads.
        start: the first moment played: a datetime, ISO text, "10m ago", a log id, an event as ``ticker:BTCUSDT@123``;
            None from the first event on.
        end: the first moment no longer played; None for all.
        shared_clock: one position for all connections, beginning with the first subscriptions of the first; it waits
            for the slowest of them.
        api_keys: keys that stand in for the recorded account's own.
        account: which account those get (``a-…``, or its first characters), where several are recorded.
        only_known_keys: let in only these and the recorded accounts' own keys; else every key ``ak_…`` gets the market.
        candles: push the recorded candles; False as the live platform does, which announces them and pushes none.
        at_end: ``hold`` keeps connections open with heartbeats, ``close`` closes them with 1000, ``loop`` begins again
            after a second.
        tell: called with one sentence when a position has come to the end.
        warn: called with one sentence when a file's own end is missing, or damage is met; by default it is logged.
        host: address to listen on.
        port: port, 0 for a free one (see ``port`` and ``url`` once it runs).
        api_secret: what REST requests must name beside a key; None: the key will do.
        dialect: ``live`` or ``page``.
        heartbeat_interval: seconds between two pings.
        pong_timeout: seconds that an answer may take before the connection is closed.
        subscription_limit: per connection, None for no limit; by default as the dialect (live: 10).
        compression: offer permessage-deflate.

    Raises:
        ValueError: an option outside its range; on entering also a start or end outside of the recording, and an
            account that is not in it.
        RecordingError: on entering: the file is foreign, of a later version or damaged.
        OSError: on entering: the file cannot be read, or the address not listened on.

    Attributes:
        control: what a test makes it do, sees of it, and waits for.
    """

    _noun = "served recording"

    def __init__(self, *path: str | Path, **options: Unpack[RecordedKeywords]) -> None:
        self._options = RecordedOptions(**options)
        if not path:
            raise TypeError("name the recording: RecordedExchange('day.axlog')")
        self._source = FileSource(*path, tell=self._options.warn)
        rules, seen = self._options.rules, Observations()
        self._stage = Stage(self._options, seen=seen, timing=Timing(clock=time.monotonic))
        self._keys = Keys(self._options.api_keys, only_known=self._options.only_known_keys)
        door = Door(rules, (), admits=self._keys.admits, account_of=self._keys.account_of)
        rest = RestDesk(books=self._stage, door=door, seen=seen, api_secret=self._options.api_secret)
        hub = self._stage.house
        super().__init__(self._options, hub=hub, floor=self._stage, door=door, rest=rest, seen=seen)
        self.control = RecordedControl(self._stage, knobs=self._knobs, hub=hub, door=door, rest=rest, seen=seen)

    async def start(self) -> None:
        """Open the recording and listen."""
        if self._task is not None:
            raise RuntimeError(f"a {self._noun} runs once: make another one")
        await self._source.__aenter__()
        try:
            program = await Program.between(self._source, self._options.start, self._options.end)
            self._keys.know(program.accounts, account=self._options.account)
            self._stage.program = program
            await super().start()
        except BaseException:
            await self._close()
            raise

    async def stop(self) -> None:
        """Close every connection with 1012, stop listening, and close the file."""
        try:
            await super().stop()
        finally:
            await self._close()

    async def _close(self) -> None:
        await self._source.__aexit__(None, None, None)

    async def _work(self) -> None:
        await self._stage.run()

    # What is played

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The recorded times (UTC) that are played, from and to.

        Raises:
            RuntimeError: it was not started.
        """
        program = self._program
        return utc(program.start_us), utc(program.end_us)

    @property
    def progress(self) -> ServedProgress:
        """How far it is now."""
        return self._stage.progress()

    @property
    def accounts(self) -> tuple[str, ...]:
        """The recorded accounts, ``a-…``.

        Raises:
            RuntimeError: it was not started.
        """
        return tuple(sorted(self._program.accounts))

    @property
    def topics(self) -> int:
        """How many topics are recorded, of all accounts together."""
        return len({*self._source.topics} - {STATUS_TOPIC})

    @property
    def _program(self) -> Program:
        if self._stage.program is None:
            raise RuntimeError(f"a {self._noun} knows what it plays when it runs")
        return self._stage.program

    @property
    def damaged(self) -> bool:
        """Whether some position met a part of the file that cannot be read."""
        return self._stage.damaged
