"""What a test makes any local exchange do, sees of it, and waits for: connections, keys, heartbeats, REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange.testing._frames import json_bytes
from agentexchange.testing._session import ABORT, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentexchange.testing._door import Door
    from agentexchange.testing._hub import Hub
    from agentexchange.testing._observe import ConnectionInfo, Observations
    from agentexchange.testing._options import Knobs
    from agentexchange.testing._rest import RestDesk

__all__ = ["ServerControl", "not_negative"]

_WAIT = 30.0
_SENDABLE_CLOSE_CODES = (*range(1000, 1004), *range(1007, 1015), *range(3000, 5000))
_HTTP_STATUS = range(400, 600)


class ServerControl:
    """Faults, frames and observations of one exchange; made by it, used from its event loop.

    ``connection`` (an id from ``connections``) and ``api_key`` narrow an action to the connections that
    match; without them it concerns all. An action takes effect at once; what it sends is on its way when
    it returns. The ``wait_for_…`` methods return as soon as their condition holds and raise ``TimeoutError``
    after ``timeout`` seconds.
    """

    def __init__(self, *, knobs: Knobs, hub: Hub, door: Door, rest: RestDesk, seen: Observations) -> None:
        self._knobs = knobs
        self._hub = hub
        self._door = door
        self._rest = rest
        self._seen = seen

    def _chosen(self, connection: int | None, api_key: str | None) -> list[Session]:
        return [
            session
            for session in self._hub.sessions.values()
            if connection in (None, session.number) and api_key in (None, session.key)
        ]

    # Frames

    def push(
        self,
        frame: Mapping[str, Any] | str | bytes,
        *,
        binary: bool = False,
        connection: int | None = None,
        api_key: str | None = None,
    ) -> None:
        """Send any frame: a mapping as JSON, str and bytes as they are, also bytes that are no UTF-8.

        It goes out as a text frame, or as a binary one with ``binary``.
        """
        if isinstance(frame, str):
            data = frame.encode("utf-8", "surrogatepass")
        else:
            data = frame if isinstance(frame, bytes) else json_bytes(frame)
        self._hub.send_raw(data, binary=binary, chosen=self._chosen(connection, api_key))

    # Connections

    def drop(self, *, code: int | None = None, connection: int | None = None, api_key: str | None = None) -> int:
        """End connections: close them with ``code``, or cut the TCP connection without one.

        Returns:
            How many.

        Raises:
            ValueError: ``code`` cannot be sent in a close frame.
        """
        if code is not None and code not in _SENDABLE_CLOSE_CODES:
            raise ValueError(f"close code {code} cannot be sent")
        chosen = self._chosen(connection, api_key)
        for session in chosen:
            session.end(ABORT if code is None else code)
        return len(chosen)

    def set_heartbeat(self, interval: float, *, pong_timeout: float | None = None) -> None:
        """Ping every ``interval`` seconds from now on, also on open connections; ends ``mute_pings``."""
        self._knobs.heartbeat_interval = _positive("interval", interval)
        if pong_timeout is not None:
            self._knobs.pong_timeout = _positive("pong_timeout", pong_timeout)
        self._knobs.pings_muted = False
        for session in self._hub.sessions.values():
            session.beat(interval, self._knobs.pong_timeout)

    def ping(self) -> None:
        """Send a heartbeat to everyone now; its answer counts as that of any other."""
        for session in self._hub.sessions.values():
            session.ping(self._knobs.pong_timeout)

    def mute_pings(self) -> None:
        """Send no more heartbeats, also to new connections, until ``set_heartbeat``."""
        self._knobs.pings_muted = True
        for session in self._hub.sessions.values():
            session.mute()

    def set_subscription_limit(self, limit: int | None) -> None:
        """Subscriptions per connection from now on, None for no limit; what is held stays."""
        self._knobs.subscription_limit = limit

    # The door

    def refuse_keys(self, *api_keys: str, code: int | None = None) -> None:
        """Let these keys in no more (all of them, when none is named); open connections stay (see ``drop``).

        Args:
            api_keys: the keys.
            code: how bad keys are answered from now on: an HTTP status (401, 403), or a close code
                such as 4401 after an accepted handshake. By default as before.
        """
        if code is not None:
            self._door.key_refusal = _refusal(code)
        self._door.refuse(*api_keys)

    def accept_keys(self, *api_keys: str) -> None:
        """Let these keys in from now on; a new one gets an account of its own."""
        for key in api_keys:
            self._door.accept(key)

    def refuse_handshakes(self, status: int = 403) -> None:
        """Answer every handshake with ``status`` (403 is what the platform says while its database is down)."""
        self._door.refuse_all = _refusal(status)

    def accept_handshakes(self) -> None:
        """End ``refuse_handshakes``, ``hold_handshakes`` and ``delay_handshakes``."""
        self._door.refuse_all = None
        self._door.delay = 0.0
        self._door.open_gate()

    def hold_handshakes(self) -> None:
        """Leave every handshake unanswered until ``accept_handshakes``."""
        self._door.close_gate()

    def delay_handshakes(self, seconds: float) -> None:
        """Answer every handshake ``seconds`` late."""
        self._door.delay = not_negative("seconds", seconds)

    # REST

    def refuse_rest(self, status: int = 503) -> None:
        """Answer every REST request with ``status`` until ``accept_rest``."""
        if status not in _HTTP_STATUS:
            raise ValueError(f"not an HTTP status of a refusal (400 to 599): {status}")
        self._rest.refusal = status

    def delay_rest(self, seconds: float) -> None:
        """Answer every REST request ``seconds`` late."""
        self._rest.delay = not_negative("seconds", seconds)

    def garble_rest(self, body: bytes) -> None:
        """Answer every REST request with 200 and ``body``, JSON or not."""
        self._rest.body = body

    def accept_rest(self) -> None:
        """End ``refuse_rest``, ``delay_rest`` and ``garble_rest``."""
        self._rest.refusal = self._rest.body = None
        self._rest.hurry()

    # What is to be seen

    @property
    def connections(self) -> tuple[ConnectionInfo, ...]:
        """The open connections, oldest first."""
        return tuple(session.info() for session in self._hub.sessions.values())

    @property
    def connections_total(self) -> int:
        """Connections accepted since the start."""
        return self._seen.connections_total

    @property
    def handshakes_refused(self) -> int:
        """Handshakes refused since the start."""
        return self._seen.handshakes_refused

    @property
    def rest_requests(self) -> int:
        """REST requests received since the start."""
        return self._seen.rest_requests

    @property
    def requests(self) -> int:
        """Messages received since the start, pongs and junk included."""
        return self._seen.requests

    @property
    def pongs(self) -> int:
        """Valid heartbeat answers received since the start."""
        return self._seen.pongs

    @property
    def ticks_dropped(self) -> int:
        """Ticks that slow clients did not get."""
        return self._seen.ticks_dropped

    @property
    def frames_sent(self) -> dict[str, int]:
        """Frames sent since the start, by kind: tick, candle, order, portfolio, ping, ack, error, pushed."""
        return dict(self._seen.frames_sent)

    # Waiting

    async def wait_for_connections(self, count: int, *, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # a test wants one line, not a block
        """Wait until exactly ``count`` connections are open."""
        await self._wait(lambda: len(self._hub.sessions) == count, timeout, f"{count} open connections")

    async def wait_for_connections_total(self, count: int, *, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # as above
        """Wait until ``count`` connections were accepted since the start."""
        await self._wait(lambda: self.connections_total >= count, timeout, f"{count} accepted connections")

    async def wait_for_refusals(self, count: int, *, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # as above
        """Wait until ``count`` handshakes were refused since the start."""
        await self._wait(lambda: self.handshakes_refused >= count, timeout, f"{count} refused handshakes")

    async def wait_for_subscriptions(self, *topics: str, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # as above
        """Wait until every topic (``ticker:BTCUSDT``, ``ticker:all``, …) is subscribed on some connection."""
        wanted = set(topics)
        await self._wait(
            lambda: wanted <= set(self._hub.subscribed_topics()), timeout, f"subscription to {', '.join(topics)}"
        )

    async def wait_for_no_subscriptions(self, *topics: str, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # as above
        """Wait until none of the topics is subscribed on any connection."""
        unwanted = set(topics)
        await self._wait(
            lambda: unwanted.isdisjoint(self._hub.subscribed_topics()), timeout, f"end of {', '.join(topics)}"
        )

    async def wait_for_requests(self, count: int, *, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # as above
        """Wait until ``count`` messages were received since the start."""
        await self._wait(lambda: self.requests >= count, timeout, f"{count} messages received")

    async def wait_for_rest_requests(self, count: int, *, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # as above
        """Wait until ``count`` REST requests were received since the start."""
        await self._wait(lambda: self.rest_requests >= count, timeout, f"{count} REST requests")

    async def wait_for_pongs(self, count: int, *, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # as above
        """Wait until ``count`` valid heartbeat answers came since the start."""
        await self._wait(lambda: self.pongs >= count, timeout, f"{count} pongs")

    async def wait_for_frames(self, kind: str, count: int, *, timeout: float = _WAIT) -> None:  # noqa: ASYNC109  # as above
        """Wait until ``count`` frames of a kind (see ``frames_sent``) were sent since the start."""
        await self._wait(lambda: self._seen.frames_sent[kind] >= count, timeout, f"{count} {kind} frames")

    async def _wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:  # noqa: ASYNC109  # as above
        await self._seen.wait_until(condition, timeout=timeout, what=what)


def _refusal(code: int) -> int:
    if code not in _HTTP_STATUS and code not in _SENDABLE_CLOSE_CODES:
        raise ValueError(f"neither an HTTP status of a refusal (400 to 599) nor a close code: {code}")
    return code


def not_negative(name: str, value: float) -> float:
    """``value``, or ValueError where it is below 0 or no finite number."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be 0 or more, not {value}")
    return value


def _positive(name: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0, not {value}")
    return value
