"""Durable positions: a program that goes on where it stopped, with everything it missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange._acked.transport import AckedTransport
from agentexchange._scripts import HOLD, SAVE

from .hold import Hold
from .log import ResumeLog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from agentexchange._acked.options import ResumeOptions
    from agentexchange._acked.places import Place
    from agentexchange._dispatch import Dispatcher
    from agentexchange._urls import RedisUrl
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout, Topic

__all__ = ["ResumeTransport"]


class ResumeTransport(AckedTransport[ResumeLog]):
    """The holder of one position."""

    scripts = (HOLD, SAVE)

    def __init__(
        self,
        url: RedisUrl,
        api_key: SecretStr,
        *,
        dispatcher: Dispatcher,
        topics: Iterable[Topic],
        options: ResumeOptions,
    ) -> None:
        super().__init__(url, api_key, dispatcher=dispatcher, topics=topics, options=options)
        self._options = options
        self._hold = Hold(options, self._layout, self._identity.unique)

    # See `Party`

    async def join(self, stream: RespStream, layout: Layout, places: Iterable[Place]) -> None:
        """Take the hold.

        Raises:
            ConnectionError: another client has it.
        """
        self._hold.layout = layout
        wanted = list(places)
        await self._hold.take(stream, sorted({place.scope for place in wanted}))
        self._open_logs(wanted)

    async def keep(self, stream: RespStream) -> None:
        """Renew the hold."""
        while True:
            await self._options.shared.sleep(self._hold.pause_s)
            await self._hold.renew(stream)

    async def leave(self, stream: RespStream) -> None:
        """Save the positions, and give up the hold."""
        await super().leave(stream)
        await self._hold.release(stream)

    # Within

    def _new_log(self, place: Place) -> ResumeLog:
        return ResumeLog(
            place, self._hold, self._dispatcher.call, options=self._options, tell=self._tell, mask=self._mask
        )

    def _on_log(self, scope: str, name: bytes | None) -> None:
        for place, log in self._logs.items():
            if place.scope == scope and name is not None:
                log.learn(name)
