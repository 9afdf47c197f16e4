"""A replay in the place of a connection. See `agentexchange._transport.Transport`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from agentexchange._shared.read import utc_of
from agentexchange._shared.scope import concerns
from agentexchange._tasks import end
from agentexchange._transport import Outlook
from agentexchange.errors import UsageError
from agentexchange_schemas import ALL, Kind, Layout, Topic

from ._choose import account_of, buildable, chosen_scopes, missing
from ._delivery import Delivery
from ._player import Player
from ._show import show
from ._source import moment_in
from ._supply import Choice, Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange._clock import Clock
    from agentexchange._dispatch import Dispatcher
    from agentexchange._runner import Runner

    from ._control import ReplayControl
    from ._options import ReplayOptions
    from ._source import Source

__all__ = ["ReplayTransport"]

_log: Final = logging.getLogger("agentexchange.replay")
_ALL: Final = Topic.ticker(ALL)


class ReplayTransport:
    """Plays a source to the dispatcher's handlers, past their queues.

    Args:
        source: what is played; not opened yet.
        dispatcher: whose handlers.
        topics: of the handlers.
        clock: the client's.
        control: steers it.
        options: what was asked for.
        named: the account scope that was asked for.
        own: the account scope of the client's key.
    """

    def __init__(
        self,
        source: Source,
        *,
        dispatcher: Dispatcher,
        topics: Iterable[Topic],
        clock: Clock,
        control: ReplayControl,
        options: ReplayOptions,
        named: str | None = None,
        own: str | None = None,
    ) -> None:
        self._source = source
        self._dispatcher = dispatcher
        self._wanted = dict.fromkeys(topics)
        self._read = set(self._wanted)
        self._clock = clock
        self._control = control
        self._options = options
        self._named, self._own = named, own
        self._account: str | None = named or own
        self._scopes: tuple[str, ...] = ()
        self._places: set[tuple[str, str]] | None = None
        self._stopping = asyncio.Event()
        self._has_ended = False
        self._delivery = Delivery(dispatcher, clock, control, is_concerned=lambda topic: concerns(topic, self._wanted))
        dispatcher.past_queues, dispatcher.log_backed = True, False
        dispatcher.on_listener = self._on_listener

    # As a transport

    def subscribe(self, topic: Topic) -> None:
        """Want ``topic`` from now on. Idempotent."""
        self._wanted[topic] = None
        if topic not in self._read and not (topic.kind is Kind.TICKER and _ALL in self._read):
            self._read.add(topic)
            self._warn([topic])
            self._control.wish(lambda player: player.choose_anew())

    def unsubscribe(self, topic: Topic) -> None:
        """Want it no more. Idempotent."""
        self._wanted.pop(topic, None)

    def stop(self) -> None:
        """Make `run` return: after the event in hand, if its handlers return in time. Idempotent."""
        if not (self._has_ended or self._stopping.is_set()):
            self._stopping.set()
            self._control.wish(lambda player: player.stop())

    def stats(self) -> dict[str, int | float]:
        """``events`` that were given to handlers."""
        return {"events": self._delivery.events}

    def outlook(self, topic: Topic) -> Outlook:
        """Which scopes carry ``topic``."""
        markets = [int(scope[1:]) for scope in self._scopes if scope.startswith("m")]
        layout = Layout(partitions=max(markets, default=0) + 1)
        is_unknown = topic.is_private and self._account is None
        return Outlook((None,) if is_unknown else layout.scopes_of(topic, self._account))

    async def run(self) -> None:
        """Play until the end, or until `stop`.

        Raises:
            RecordingError: the file is foreign, of a later version, or damaged; what is good was delivered.
            ConnectionError: Redis does not answer.
            UsageError: several accounts were recorded, and none is named.
            OSError: the file cannot be read.
        """
        playing = asyncio.create_task(self._play(), name="agentexchange:replay")
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((playing, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                await asyncio.wait((playing,), timeout=self._dispatcher.patience_s)
        finally:
            try:
                await end((playing, stopping))
            finally:  # cancelled as it ended, too
                self._leave()
        if not playing.cancelled():
            playing.result()

    # Within

    async def _play(self) -> None:
        options = self._options
        async with self._source as source:
            await self._choose(source)
            span = await self._span(source)
            self._delivery.forget()
            player = Player(
                source, span, choice=self._choice, delivery=self._delivery, control=self._control, options=options
            )
            self._control.began(player)
            showing = asyncio.create_task(
                show(player, on_progress=options.on_progress, has_bar=options.progress_bar), name="agentexchange:show"
            )
            try:
                with self._dispatcher.calling():
                    await player.run()
            finally:
                await end((showing,))

    def _leave(self) -> None:
        self._has_ended = True
        self._control.ended()
        self._delivery.close()
        self._delivery.forget()
        self._clock.replayed_us = None
        self._dispatcher.past_queues = False

    async def _choose(self, source: Source) -> None:
        self._scopes = source.scopes
        is_private = any(topic.is_private for topic in self._wanted)
        self._account = account_of(source.scopes, named=self._named, own=self._own, is_needed=is_private)
        self._places = await source.places()
        self._warn(self._wanted)

    def _warn(self, topics: Iterable[Topic]) -> None:
        """Say which of ``topics`` were not recorded, as far as that is known."""
        if self._places is None:
            return
        built = self._built(topics)
        for topic in built:
            _log.info("%s was not recorded: it is built of the recorded ticks", topic)
        silent = [topic for topic in topics if topic not in built]
        for sentence in missing(self._places, self._account, silent, name=self._source.name):
            _log.warning("%s", sentence)

    def _choice(self) -> Choice:
        """What is to be read now."""
        self._read = set(self._wanted)
        scopes = chosen_scopes(self._scopes, self._account, self._wanted)
        return Choice(tuple(self._wanted), scopes, self._built(self._wanted))

    def _built(self, topics: Iterable[Topic]) -> dict[Topic, int]:
        """Candles that are to be built of ticks, and since when there may be ticks of them."""
        scopes = {} if self._places is None else buildable(self._places, topics)
        return {topic: self._source.ticks_since_us(scope) or 0 for topic, scope in scopes.items()}

    async def _span(self, source: Source) -> Span:
        first_us, last_us = source.first_us, source.last_us
        if first_us is None or last_us is None:
            _log.warning("nothing was recorded: there is nothing to replay")
            return Span(0, 0)
        start, end_ = self._options.start, self._options.end
        start_us = first_us if start is None else await moment_in(source, start)
        end_us = last_us + 1 if end_ is None else await moment_in(source, end_)
        if start_us >= end_us and start is not None and end_ is not None:
            raise UsageError("the start of a replay must be before its end")
        if start_us > last_us or end_us <= first_us:
            _log.warning("nothing was recorded in that span, only from %s to %s", utc_of(first_us), utc_of(last_us))
        return Span(start_us, min(end_us, last_us + 1))

    def _on_listener(self, runner: Runner) -> None:
        """A status handler that is added gets the present state first."""
        self._control.wish(lambda _: self._delivery.tell(self._dispatcher.present, [runner]))
