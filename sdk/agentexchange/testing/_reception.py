"""From the handshake to the last frame of one connection: admit, read, answer, close."""

from __future__ import annotations

import asyncio
from http.client import responses as HTTP_PHRASES  # noqa: N812  # a constant
from itertools import count
from typing import TYPE_CHECKING, Protocol

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from agentexchange.testing._door import FIRST_CLOSE_CODE, Door, key_of
from agentexchange.testing._requests import judge
from agentexchange.testing._rest import is_rest
from agentexchange.testing._session import ABORT, IDLE, UNAUTHORIZED, Session

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request

    from agentexchange.testing._observe import Observations
    from agentexchange.testing._options import Knobs, ServerOptions
    from agentexchange.testing._requests import Verdict
    from agentexchange.testing._rest import RestDesk

__all__ = ["CLOSE_TIMEOUT", "Floor", "Reception"]

CLOSE_TIMEOUT = 1.0  # seconds that a client has to answer a close frame before it is cut off


class Floor(Protocol):
    """Where received clients get their events: the sandbox's `Hub`, or whatever else is played."""

    def add(self, session: Session) -> None:
        """A connection came."""

    def remove(self, session: Session) -> None:
        """A connection went."""

    def subscribe(self, session: Session, topic: str) -> None:
        """From now on ``session`` gets ``topic``; doing it again changes nothing."""

    def unsubscribe(self, session: Session, topic: str) -> None:
        """The reverse of ``subscribe``, also for a topic that was never subscribed."""


class Reception:
    """Receives the clients of one exchange; ``admit`` and ``attend`` are the WebSocket server's callbacks."""

    def __init__(
        self, *, options: ServerOptions, knobs: Knobs, floor: Floor, door: Door, rest: RestDesk, seen: Observations
    ) -> None:
        self._options = options
        self._knobs = knobs
        self._floor = floor
        self._door = door
        self._rest = rest
        self._seen = seen
        self._numbers = count(1)

    async def admit(self, _connection: ServerConnection, request: Request) -> Response | None:
        """Answer a handshake (None to go on with it, else a refusal, with an empty body as the platform's) or REST."""
        if is_rest(request.path):
            return await self._rest.answer(request)
        await self._door.pass_gate()
        refusal = self._door.refusal_of(request.path)
        if refusal is None or refusal >= FIRST_CLOSE_CODE:
            return None
        self._seen.handshakes_refused += 1
        self._seen.changed()
        return Response(
            refusal,
            HTTP_PHRASES.get(refusal, "Refused"),
            Headers([("Content-Length", "0"), ("Connection", "close")]),
            b"",
        )

    async def attend(self, connection: ServerConnection) -> None:
        """Serve one connection from its accepted handshake to its end."""
        path = connection.request.path if connection.request is not None else ""
        refusal = self._door.refusal_of(path)
        if refusal is not None:
            self._seen.handshakes_refused += 1
            self._seen.changed()
            await connection.close(refusal if refusal >= FIRST_CLOSE_CODE else UNAUTHORIZED)
            return
        key = key_of(path)
        session = Session(
            next(self._numbers),
            key,
            connection,
            account=self._door.account_of(key),
            seen=self._seen,
            max_buffer=self._options.max_buffer,
        )
        self._floor.add(session)
        self._seen.connections_total += 1
        self._seen.changed()
        if not self._knobs.pings_muted:
            session.beat(self._knobs.heartbeat_interval, self._knobs.pong_timeout)
        try:
            await self._hold(session)
        finally:
            session.end(ABORT)
            self._floor.remove(session)

    async def _hold(self, session: Session) -> None:
        """Read until the client goes or the session is ended, then close."""
        reader = asyncio.create_task(self._read(session))
        try:
            await asyncio.wait((reader, session.ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            await asyncio.wait((reader,))
        await _close(session.connection, session.ended.result() if session.ended.done() else IDLE)
        if not reader.cancelled():
            reader.result()

    async def _read(self, session: Session) -> None:
        try:
            async for message in session.connection:
                self._on_message(session, message)
        except ConnectionClosed:
            pass

    def _on_message(self, session: Session, message: str | bytes) -> None:
        session.requests += 1
        self._seen.requests += 1
        verdict = judge(message, dialect=self._options.rules, held=session.topics, limit=self._knobs.subscription_limit)
        if session.open:
            self._obey(session, verdict)
        self._seen.changed()

    def _obey(self, session: Session, verdict: Verdict) -> None:
        if verdict.close:
            session.end(IDLE)
        if verdict.pong:
            self._seen.pongs += 1
            session.on_pong()
        if verdict.reply is not None:
            session.send_message("error" if verdict.reply["type"] == "error" else "ack", verdict.reply)
        if verdict.subscribe is not None:
            self._floor.subscribe(session, verdict.subscribe)
        if verdict.unsubscribe is not None:
            self._floor.unsubscribe(session, verdict.unsubscribe)


async def _close(connection: ServerConnection, code: int) -> None:
    """Close with ``code``; a client that does not answer, or does not read, is cut off."""
    try:
        if code != ABORT:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await connection.close(code)
    except TimeoutError:
        pass
    finally:
        connection.transport.abort()
