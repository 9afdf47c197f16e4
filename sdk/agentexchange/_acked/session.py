"""One connection's life of a client that acknowledges, from the first socket to the first fault or the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from agentexchange._scripts import load_scripts
from agentexchange._shared.commands import Commands
from agentexchange._shared.ending import decisive, until_closed
from agentexchange.redis import LinkClosedError, RespStream

from .places import places_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange._scripts import Script
    from agentexchange._shared.interest import InterestKeeper
    from agentexchange._urls import RedisUrl
    from agentexchange_schemas import Layout, Topic

    from .options import AckedOptions
    from .places import Place
    from .status import ScopeStatuses

__all__ = ["AckedSession", "Party"]

_NAME = "agentexchange-sdk"


class Party(Protocol):
    """What a group's member and a position's holder do with a connection. All raise what `RespStream` raises."""

    scripts: Iterable[Script]

    async def join(self, stream: RespStream, layout: Layout, places: Iterable[Place]) -> None:
        """Begin, or go on after a lost connection; may raise a `ConnectionError` that ends the client."""

    async def keep(self, stream: RespStream) -> None:
        """Renew what was joined, until cancelled."""

    async def serve(self, stream: RespStream, place: Place) -> None:
        """Read one log on a connection of its own, until cancelled."""

    async def leave(self, stream: RespStream) -> None:
        """End: let handlers return, report what they did, and give back the rest."""


class AckedSession:
    """Connections: one for commands, one for pub/sub, one for each log."""

    def __init__(
        self,
        url: RedisUrl,
        account: str,
        *,
        layout: Layout,
        topics: Iterable[Topic],
        party: Party,
        statuses: ScopeStatuses,
        interest: InterestKeeper,
        options: AckedOptions,
    ) -> None:
        self._url = url
        self._account = account
        self._topics = frozenset(topics)
        self._party = party
        self._statuses = statuses
        self._interest = interest
        self._options = options
        self._leaving = asyncio.Event()
        self._streams: list[RespStream] = []
        self._ready_at: float | None = None
        self._signs_before = statuses.signs
        self.layout = layout

    @property
    def is_ready(self) -> bool:
        """Whether everything was joined."""
        return self._ready_at is not None

    @property
    def is_healthy(self) -> bool:
        """Whether it proved so: a sign of life came after it, or enough time passed."""
        if self._ready_at is None:
            return False
        shared = self._options.shared
        return shared.clock() - self._ready_at >= shared.healthy_after_s or self._statuses.signs > self._signs_before

    def leave(self) -> None:
        """End it in good order, once it is ready."""
        self._leaving.set()

    async def run(self) -> None:
        """Serve until a fault or `leave`.

        Raises:
            RedisLinkError: Redis is away, or refuses.
            AuthenticationError: upstream refuses the account's key.
            ConnectionError: an unknown layout, or what `Party.join` refuses.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                serving = self._tasks.create_task(self._serve())
                serving.add_done_callback(lambda _: self._close())
        except BaseExceptionGroup as group:
            raise decisive(group) from None
        finally:
            self._close()

    async def _serve(self) -> None:
        stream = self._stream = await self._open()
        guards = [self._guard(stream)]
        commands = Commands(stream, self._url.prefix)
        is_known = await self._learn_layout(commands)
        places = places_of(self.layout, self._topics, self._account)
        await load_scripts(stream, self._party.scripts)
        scopes = {place.scope for place in places}
        pubsub = await self._statuses.connect(self._url, _NAME, self.layout, scopes)
        self._streams.append(pubsub)
        guards.append(self._guard(pubsub))
        await self._statuses.look(commands, self.layout, self._account)
        await self._party.join(stream, self.layout, places)
        reading = [self._tasks.create_task(self._read(place)) for place in places]
        keeping = [
            self._tasks.create_task(self._statuses.follow(commands, self.layout, self._account)),
            self._tasks.create_task(self._party.keep(stream)),
            self._tasks.create_task(self._interest.keep(stream)),
        ]
        if not is_known:
            keeping.append(self._tasks.create_task(self._await_layout(commands)))
        self._ready_at = self._options.shared.clock()
        await self._leaving.wait()
        for task in (*reading, *keeping):
            task.cancel()
        await asyncio.wait((*reading, *keeping))
        await self._party.leave(stream)
        await self._interest.leave()
        for task in guards:
            task.cancel()

    async def _open(self) -> RespStream:
        stream = await RespStream.connect(self._url, name=_NAME, options=self._options.shared.stream)
        self._streams.append(stream)
        return stream

    def _guard(self, stream: RespStream) -> asyncio.Task[None]:
        return self._tasks.create_task(until_closed(stream))

    def _close(self) -> None:
        for stream in self._streams:
            stream.close("the session is over")

    async def _read(self, place: Place) -> None:
        stream = await self._open()
        try:
            await self._party.serve(stream, place)
        finally:
            stream.close("the log is read no more")

    async def _learn_layout(self, commands: Commands) -> bool:
        """Without one no bridge has ever been here: its defaults are assumed."""
        layout = await commands.layout()
        if layout is not None:
            self.layout = layout
        return layout is not None

    async def _await_layout(self, commands: Commands) -> None:
        while True:
            await self._options.shared.sleep(self._options.shared.watch_every_s)
            layout = await commands.layout()
            if layout is not None and layout != self.layout:
                raise LinkClosedError("the bridge has set another partition count")
