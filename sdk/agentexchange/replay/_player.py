"""One run of a replay: reads, waits until events are due, delivers, and does between events what is wished for."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from agentexchange._shared.read import utc_of
from agentexchange._tasks import end

from ._control import ReplayProgress
from ._pace import Pace
from ._source import moment_in
from ._supply import Supply

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._control import ReplayControl
    from ._delivery import Delivery
    from ._options import ReplayOptions
    from ._reader import Part
    from ._source import Moment, Source
    from ._supply import Choice, Span

__all__ = ["Player"]

_log: Final = logging.getLogger("agentexchange.replay")
_received_us: Final = attrgetter("received_us")
_SAMPLES: Final = 6  # over which events per second are counted


class Player:
    """Plays ``span`` of an open source. What a `ReplayControl` steers.

    Args:
        source: where events come from.
        span: what is played.
        choice: gives what is to be read, whenever reading begins anew.
        delivery: calls the handlers.
        control: is obeyed between two events.
        options: how fast.
    """

    def __init__(
        self,
        source: Source,
        span: Span,
        *,
        choice: Callable[[], Choice],
        delivery: Delivery,
        control: ReplayControl,
        options: ReplayOptions,
    ) -> None:
        self._source = source
        self._span = span
        self._supply = Supply(source, span, choice)
        self._delivery = delivery
        self._control = control
        self._clock = options.clock
        self._sleep = options.sleep
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(span.start_us, self._clock(), speed=control.speed)
        self._begin_us = max(span.start_us, source.first_us or 0)  # nothing is to be waited for before
        self._steps = 0
        self._is_stale = False
        self._is_over = self._is_stopped = False
        self._sleeping: asyncio.Future[None] | None = None
        self._last: ReplayProgress | None = None
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    async def run(self) -> None:
        """Play to the end of the span; while paused, that is not the end.

        Raises:
            RecordingError: damaged here; everything before was delivered.
            ConnectionError: Redis does not answer any more.
        """
        self._pace.move(self._begin_us, self._clock())
        self._delivery.begin_at(self._begin_us)
        try:
            while True:
                await self._do_wishes()
                if self._is_stopped:
                    return
                if self._pace.is_paused and not self._steps:
                    await self._wait(math.inf)
                elif self._supply.part is None and not self._supply.is_at_end:
                    await self._fetch()
                elif self._is_stale and not self._is_within_moment:
                    await self._read_anew()
                elif self._supply.part is None:
                    break
                else:
                    await self._go_on(self._supply.part)
            self._is_over = True
        finally:
            self._last = self.progress
            await self._supply.close()

    # Events

    async def _fetch(self) -> None:
        """Have the next events at hand, unless something is wished for while they are waited for."""
        if self._supply.is_ready:  # as it is most of the time, and then it costs no task
            await self._supply.fetch()
        else:
            await self._wait_for_events()
        await self._delivery.begin_with(self._supply.take_opening())

    async def _wait_for_events(self) -> None:
        fetching = self._sleeping = asyncio.ensure_future(self._supply.fetch())
        try:
            if not self._delivery.is_interrupted:
                await asyncio.wait((fetching,))
        finally:
            self._sleeping = None
            await end((fetching,))
        if not fetching.cancelled():
            fetching.result()

    @property
    def _is_within_moment(self) -> bool:
        """Whether the next event was received together with the last one."""
        return self._supply.next_us is not None and self._supply.next_us == self._delivery.last_us

    async def _go_on(self, part: Part) -> None:
        """Deliver what is due of the events at hand, or wait for the first of them."""
        envelopes, at, now = part.envelopes, self._supply.at, self._clock()
        if self._steps:
            await self._step(part)
            return
        wait_s = self._pace.wait_s(envelopes[at].received_us, now)
        if wait_s > 0:
            await self._wait(wait_s)
            return
        due = len(envelopes)
        if self._pace.speed:
            due = bisect_right(envelopes, self._pace.position_us(now), lo=at, key=_received_us)
        self._supply.go_to(await self._delivery.deliver(part, at, max(due, at + 1)))

    async def _step(self, part: Part) -> None:
        before = self._delivery.events
        at = self._supply.at
        self._supply.go_to(await self._delivery.deliver(part, at, at + 1))
        self._steps = max(0, self._steps - (self._delivery.events - before))
        if self._delivery.last_us is not None:
            self._pace.move(self._delivery.last_us, self._clock())

    async def _wait(self, seconds: float) -> None:
        """Wait so long, or until woken."""
        endless = seconds == math.inf
        self._sleeping = self._loop.create_future() if endless else asyncio.ensure_future(self._sleep(seconds))
        try:
            if not self._delivery.is_interrupted:
                await asyncio.wait((self._sleeping,))
        finally:
            self._sleeping.cancel()
            self._sleeping = None

    async def _read_anew(self) -> None:
        """More is wanted: read it from now on, without skipping what is late of that which was wanted before."""
        last_us, next_us = self._delivery.last_us, self._supply.next_us
        floor_us = self._supply.from_us if last_us is None else last_us + 1
        ahead_us = self._span.end_us if next_us is None else next_us
        position_us = self._pace.position_us(self._clock()) if self._pace.speed else floor_us
        await self._supply.move(max(floor_us, int(min(ahead_us, position_us))), keeps_states=True)
        self._is_stale = False

    # What is wished for

    async def _do_wishes(self) -> None:
        if self._delivery.is_changing:
            await asyncio.sleep(0)  # another thread has changed handlers: the loop is about to do that
        if not self._control.has_wishes:
            return
        if not self._pace.speed and self._delivery.last_us is not None:
            self._pace.move(self._delivery.last_us, self._clock())
        for wish in self._control.take_wishes():
            done = wish(self)
            if inspect.isawaitable(done):
                await done

    def wake(self) -> None:
        """Look for wishes now. Called on any thread."""
        with suppress(RuntimeError):  # the loop is closed: the run is over
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._sleeping is not None:
            self._sleeping.cancel()

    def pause(self) -> None:
        """Stand still."""
        self._pace.pause(self._clock())

    def resume(self) -> None:
        """Go on."""
        self._steps = 0
        self._pace.resume(self._clock())

    def step(self, count: int) -> None:
        """Deliver so many events, and stand still."""
        self.pause()
        self._steps += count

    def set_speed(self, speed: float) -> None:
        """Go on at another speed."""
        self._pace.set_speed(speed, self._clock())

    async def seek(self, moment: Moment) -> None:
        """Go on from there, within the span."""
        try:
            wanted_us = await moment_in(self._source, moment)
        except ValueError as exc:
            _log.error("the replay goes on where it is: %s", exc)
            return
        from_us = min(max(wanted_us, self._span.start_us), self._span.end_us)
        await self._supply.move(from_us, keeps_states=False)
        self._delivery.forget()
        self._delivery.begin_at(from_us)
        self._pace.move(from_us, self._clock())

    def stop(self) -> None:
        """End it here."""
        self._is_stopped = True

    def choose_anew(self) -> None:
        """What is wanted has changed."""
        self._is_stale = True

    # How far it is

    @property
    def progress(self) -> ReplayProgress:
        """Read on any thread."""
        if self._last is not None:
            return self._last
        now, last_us, events = self._clock(), self._delivery.last_us, self._delivery.events
        since, before = self._samples[0] if self._samples else (now, events)
        return ReplayProgress(
            share=1.0 if self._is_over else self._share(now),
            time=None if last_us is None else utc_of(last_us),
            events=events,
            events_per_s=(events - before) / (now - since) if now > since else 0.0,
            behind_s=self._behind_s(now),
            is_paused=self._pace.is_paused,
            is_away=self._source.is_away,
        )

    def sample(self) -> None:
        """Remember how far it is, for the rate. To be called a few times a second."""
        self._samples.append((self._clock(), self._delivery.events))

    def _share(self, now: float) -> float:
        start_us, end_us = self._begin_us, self._span.end_us
        at_us: float = self._delivery.last_us or self._supply.from_us
        if self._supply.next_us is not None:  # in a gap it goes on, too
            at_us = max(at_us, min(self._pace.position_us(now), self._supply.next_us))
        return min(max((at_us - start_us) / max(end_us - start_us, 1), 0.0), 1.0)

    def _behind_s(self, now: float) -> float:
        at_us = self._delivery.last_us
        if at_us is None or self._pace.is_paused or self._sleeping is not None:
            return 0.0
        return max(0.0, -self._pace.wait_s(at_us, now))
