"""The state of the scopes that a client reads logs of: heartbeats, notices and looks, told to the status handlers."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from agentexchange._shared.clock import ClockCheck
from agentexchange._shared.pubsub import PubSub
from agentexchange._shared.scope import ScopeWatch
from agentexchange.errors import AuthenticationError
from agentexchange.redis import LinkClosedError
from agentexchange_schemas import EnvelopeError, FeedState, FeedStatus
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentexchange._shared.commands import Commands
    from agentexchange._shared.options import SharedOptions
    from agentexchange._urls import RedisUrl
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Envelope, Layout

__all__ = ["ScopeStatuses"]

_log = logging.getLogger("agentexchange.shared")


class ScopeStatuses:
    """Follows scopes over one pub/sub connection at a time; what is known of them outlives it.

    Args:
        tell: `Dispatcher.status`.
        is_concerned: whether what is told of a topic is to be handed on.
        on_log: told the name of a scope's log whenever it was looked at; None where the log has none (yet).
        options: silences and pauses.
    """

    def __init__(
        self,
        tell: Callable[[FeedStatus], None],
        is_concerned: Callable[[str], bool],
        on_log: Callable[[str, bytes | None], None],
        options: SharedOptions,
    ) -> None:
        self._tell_handlers = tell
        self._is_concerned = is_concerned
        self._clock = ClockCheck(options)
        self._on_log = on_log
        self._options = options
        self._watches: dict[str, ScopeWatch] = {}
        self._epochs: dict[str, int] = {}
        self._channels: dict[bytes, str] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._pubsub = PubSub(options)
        self.signs = 0
        self.junk = 0

    def state(self, scope: str) -> FeedState:
        """What the scope was last known to be."""
        watch = self._watches.get(scope)
        return FeedState.CONNECTING if watch is None or watch.state is None else watch.state

    def clock_difference_s(self, scopes: Iterable[str]) -> float | None:
        """How far this machine's clock is ahead of the first bridge's of these scopes that tells its. On any thread."""
        watches = (self._watches.get(scope) for scope in scopes)
        differences = (self._clock.difference_s(watch.clock_offset_us) for watch in watches if watch is not None)
        return next((difference for difference in differences if difference is not None), None)

    async def connect(self, url: RedisUrl, name: str, layout: Layout, scopes: Iterable[str]) -> RespStream:
        """Subscribe; raises what `RespStream.connect` and `PubSub.subscribe` raise."""
        self._channels = {layout.status(scope).encode(): scope for scope in scopes}
        for scope in self._channels.values():
            self._watch(scope)
        self._due = set(self._channels.values())
        self._pubsub = PubSub(self._options)
        stream = await self._pubsub.connect(url, name, self._options, self._on_replies)
        try:
            await self._pubsub.subscribe([layout.channel(scope, STATUS_TOPIC) for scope in self._channels.values()])
        except BaseException:  # a cancelled one too: nobody else knows of the connection yet
            stream.close("not subscribed")
            raise
        return stream

    async def look(self, commands: Commands, layout: Layout, account: str) -> None:
        """Look at the scopes that are due.

        Raises:
            AuthenticationError: upstream refuses this client's own key.
        """
        names, self._due = sorted(self._due), set()
        looks = await commands.look(layout, names)
        now, clock = self._options.now(), self._options.clock()
        for scope, look in zip(names, looks, strict=True):
            self._on_log(scope, look.log_id)
            watch = self._watch(scope)
            watch.took(look)
            self._tell(watch.looked_at(look.report, now=now, clock=clock))
            for status in watch.untold(self._is_concerned, now=now):
                self._tell(status)
        self._check_key(account)

    async def follow(self, commands: Commands, layout: Layout, account: str) -> None:
        """Look at scopes that fall silent or come under a new writer, until cancelled.

        Raises:
            LinkClosedError: no heartbeat arrives though somebody holds the lease: the subscription is half dead.
            AuthenticationError: upstream refuses this client's own key.
        """
        while True:
            await self._pause()
            self._due |= {scope for scope in self._watches if self._silence(scope) > self._options.silent_after_s}
            await self.look(commands, layout, account)
            await self._clock.run(commands, self._options.clock())
            for scope, watch in self._watches.items():
                if watch.is_leased and self._silence(scope) > self._options.replace_after_s:
                    raise LinkClosedError(f"no heartbeat of {scope} arrives though its lease is held")

    def lost(self, reason: str, scopes: Iterable[str]) -> None:
        """Redis is away: every scope is blind."""
        for scope in scopes:
            self._tell(self._watch(scope).lost(reason, now=self._options.now()))

    # Within

    async def _pause(self) -> None:
        if not self._wake.is_set():
            await self._options.sleep(self._options.watch_every_s)
        self._wake.clear()

    def _silence(self, scope: str) -> float:
        return self._watch(scope).silence(self._options.clock())

    def _watch(self, scope: str) -> ScopeWatch:
        if scope not in self._watches:
            self._watches[scope] = ScopeWatch(scope)
        return self._watches[scope]

    def _check_key(self, account: str) -> None:
        watch = self._watches.get(account)
        if watch is not None and watch.is_leased and watch.state is FeedState.AUTH_FAILED:
            raise AuthenticationError("the platform refuses this API key (the bridge reports it)", code="AUTH_FAILED")

    def _tell(self, status: FeedStatus | None) -> None:
        if status is not None:
            self._tell_handlers(status)

    def _on_replies(self, replies: list[Any]) -> None:
        for reply in replies:
            match reply:
                case [b"message", bytes(channel), bytes(raw)] if channel in self._channels:
                    self._on_message(self._channels[channel], raw)
                case _:
                    self._pubsub.on_control(reply)

    def _on_message(self, scope: str, raw: bytes) -> None:
        try:
            envelope = decode(raw)
            if envelope.topic == STATUS_TOPIC:
                self._on_status(scope, envelope)
        except EnvelopeError as exc:
            self.junk += 1
            _log.debug("unreadable envelope in the status channel of %s: %s", scope, exc)

    def _on_status(self, scope: str, envelope: Envelope) -> None:
        self.signs += 1
        watch = self._watch(scope)
        if envelope.epoch > self._epochs.get(scope, 0):
            self._epochs[scope] = envelope.epoch
            self._due.add(scope)
        if envelope.seq is None:
            clock = self._options.clock()
            self._tell(watch.heartbeat(envelope.data, now=self._options.now(), clock=clock))
        else:
            status = FeedStatus.from_fields(envelope.data)
            if watch.notice(status, self._is_concerned):
                self._tell(status)
        if watch.state is FeedState.AUTH_FAILED or self._due:
            self._wake.set()
