"""Everything one scope holds between receive and acknowledgement, and what becomes of it. Decides; does no I/O."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import Cause, EnvelopeError
from agentexchange_schemas.envelope import STATUS_TOPIC
from agentexchange_schemas.events import FINAL_STATUSES, event_time_ms
from agentexchange_schemas.layout import count_of, order_key

from .buffer import BufferLimits, EventBuffer
from .items import CANDLE, FINAL_ORDER, FORMING, MAX_DATA_BYTES, NOTICE, ORDER, PORTFOLIO, TICKER, Item, packer
from .notices import Narrator, blind_since_us, loss_notices
from .retained import Forgotten, Retained, RetainLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentexchange_schemas import FeedStatus

    from .batch import Batch, BatchEncoder
    from .lease import Grant

__all__ = ["Outbox", "OutboxLimits", "Reconciled"]

_NO_ID: Final = "0-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """Bounds of one scope.

    Attributes:
        batch_events: events of one batch at most. From 100 on the cost per event stays the same, and batches are small
            unless there is a backlog; then one goes out per turn of a busy loop, which bounds the rate.
        batch_bytes: packed fields of one batch, about.
        buffer: of what waits.
        retain: of what was written lately.
    """

    batch_events: int = 1000
    batch_bytes: int = 1024 * 1024
    buffer: BufferLimits = field(default_factory=BufferLimits)
    retain: RetainLimits = field(default_factory=RetainLimits)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of comparing with the server, for the log.

    Attributes:
        continuing: nobody else wrote since this worker did; what it holds stays.
        dropped: events let go because somebody else wrote.
        applied: flags of the batch that was applied although its answer was lost, one per event.
        resent: events that the server had forgotten and gets again.
        forgotten_ticks: ticks that it had forgotten and that are gone.
        replaced: the server has another log than before.
    """

    continuing: bool
    dropped: int = 0
    applied: str = ""
    resent: int = 0
    forgotten_ticks: int = 0
    replaced: bool = False


def wall_us() -> int:
    """Now, in microseconds since the Unix epoch."""
    return time.time_ns() // 1000


class Outbox:
    """One scope's events: stamped, buffered, encoded, acknowledged, written again.

    ``is_open`` says whether the scope is this worker's; what comes while it is not is not held. ``last_us`` is the
    stamp of the last event, ``tick_ms`` upstream's time of the last tick.
    """

    def __init__(
        self,
        scope: str,
        *,
        encoder: BatchEncoder,
        limits: OutboxLimits,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._encoder = encoder
        self._limits = limits
        self._wall = wall
        self._buffer = EventBuffer(limits.buffer)
        self._again: deque[Item] = deque()
        self._flight: list[Batch] = []
        self._retained = Retained(limits.retain)
        self._pack = packer(keep_frames=encoder.keeps_frames)
        self._seqs: dict[str, int] = {}
        self.last_us = 0
        self._tick_time: str | None = None
        self.tick_ms: int | None = None
        self._epoch = 0
        self._log_name = ""
        self.narrator = Narrator(scope, wall())
        self.is_open = False
        self.log_ids: list[str] = [_NO_ID, _NO_ID]
        self.written_us = 0
        self.last_event_us = 0

    # Receiving

    def tick(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a ticker. The hot path."""
        text = fields["timestamp"]
        if text != self._tick_time:
            # many ticks share a millisecond, and reading it is a third of what a tick costs here
            self._tick_time, self.tick_ms = text, event_time_ms(fields)
        self._buffer.add_tick((self._stamp(), TICKER, topic, topic, self.tick_ms, self._packed(topic, fields)))

    def candle(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a candle: forming only where upstream says so."""
        if fields.get("is_closed") is False:
            packed = self._packed(topic, fields)
            self._buffer.add_tick((self._stamp(), FORMING, topic, topic, event_time_ms(fields), packed))
        else:
            self._keep(CANDLE, topic, topic, fields)

    def order(self, topic: str, fields: dict[str, Any]) -> None:
        """Take an order update."""
        is_final = str(fields["status"]).lower() in FINAL_STATUSES
        self._keep(FINAL_ORDER if is_final else ORDER, topic, order_key(fields["order_id"]), fields)

    def portfolio(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a portfolio snapshot."""
        self._keep(PORTFOLIO, topic, topic, fields)

    def notices(self, statuses: Iterable[FeedStatus]) -> None:
        """Take notices: each has its place among the events."""
        for status in statuses:
            self._keep(NOTICE, STATUS_TOPIC, STATUS_TOPIC, status.to_fields())

    def lose(self, topic: str) -> None:
        """An event of ``topic`` came that cannot be written."""
        self._buffer.losses.add(topic, Cause.DROPPED, self._stamp())

    def tell_losses(self) -> None:
        """Turn the losses recorded since the last call into notices, once there is room: none may push out an order."""
        if self._buffer.losses and 2 * self._buffer.kept <= self._limits.buffer.kept:
            self.notices(loss_notices(self._buffer.losses.drain(), self.narrator))

    def _keep(self, flag: str, topic: str, name: str, fields: dict[str, Any]) -> None:
        upstream_ms = None if flag == NOTICE else event_time_ms(fields)
        self._buffer.add_kept((self._stamp(), flag, topic, name, upstream_ms, self._packed(topic, fields)))

    def _stamp(self) -> int:
        now = self._wall()
        self.last_us = stamp = now if now > self.last_us else self.last_us + 1
        return stamp

    # Writing

    @property
    def backlog(self) -> int:
        """Events waiting to be encoded."""
        return len(self._again) + len(self._buffer)

    @property
    def held(self) -> int:
        """Events received and not known to be written."""
        return sum(len(batch.items) for batch in self._flight) + self.backlog

    @property
    def is_empty(self) -> bool:
        """Whether everything received was written."""
        return not (self._flight or self._again or len(self._buffer))

    def has_written(self, topic: str) -> bool:
        """Whether any event of ``topic`` was ever encoded for this scope's log, as far as the server knows."""
        return topic in self._seqs

    @property
    def holds_candles(self) -> bool:
        """Whether a closed candle is not known to be written."""
        unsettled = any(CANDLE in batch.flags for batch in self._flight)
        return unsettled or any(item[1] == CANDLE for item in self._again) or self._buffer.holds(CANDLE)

    @property
    def buffer(self) -> EventBuffer:
        """What waits; to read its sizes and counters."""
        return self._buffer

    def next_batch(self) -> Batch | None:
        """Encode the oldest waiting events; None where there are none. It stays here until `applied`."""
        items = self._take()
        if not items:
            return None
        is_told = any(item[1] == NOTICE for item in items)
        status = self.narrator.fields() if is_told else {}
        batch = self._encoder.encode(items, epoch=self._epoch, seqs=self._seqs, status=status, now_us=self._wall())
        self._flight.append(batch)
        return batch

    def applied(self, batch: Batch, now: float) -> None:
        """The server has the batch; ``now`` in seconds, monotonic. Batches are acknowledged in order."""
        self._flight.remove(batch)
        self._retained.add(batch, now)
        self.written_us = batch.last_us
        self.log_ids = [new or old for new, old in zip(batch.log_ids, self.log_ids, strict=True)]
        if batch.flags[-1] != NOTICE:
            self.last_event_us = batch.last_us
        elif events := [item[0] for item in batch.items if item[1] != NOTICE]:
            self.last_event_us = events[-1]

    def _take(self) -> list[Item]:
        if not self._again:
            return self._buffer.take(self._limits.batch_events, self._limits.batch_bytes)
        taken: list[Item] = []
        size = 0
        while self._again and len(taken) < self._limits.batch_events and size < self._limits.batch_bytes:
            taken.append(self._again.popleft())
            size += len(taken[-1][5])
        return taken

    # Owning

    def settled_us(self) -> int:
        """Up to when all that was received has been written."""
        return self._wall() if self.is_empty else self.written_us

    def reconcile(self, grant: Grant, now: float, *, owner_seen_us: int | None = None) -> Reconciled:
        """Compare with what the server has, under a lease just granted; what is to be written stays or goes.

        Where nobody else wrote since, a batch that was applied is acknowledged, what the server has forgotten is
        written again before everything else, and the rest is encoded anew. Otherwise all is dropped, and the blind
        span since the last owner's word begins; where the server knows of none, since ``owner_seen_us``, when this
        worker last knew another one to be there.
        """
        is_continuing = self._epoch > 0 and grant.stored_epoch <= self._epoch
        result = self._continue(grant, now) if is_continuing else self._start(grant)
        self._epoch, self._seqs, self._log_name = grant.epoch, dict(grant.seqs), grant.log_name
        self.log_ids = list(grant.log_ids)
        self._raise_floor(max(grant.received_us, grant.log_floor_us))
        self.is_open = True
        if not is_continuing:
            since_us = blind_since_us(grant)
            is_wiped = since_us is None
            since_us = owner_seen_us if since_us is None else since_us
            if since_us is not None:
                self.notices(self.narrator.took_over(since_us, self._wall(), is_wiped=is_wiped))
        return result

    def drop(self) -> int:
        """Let go of everything: somebody else writes the scope. Returns how many events that were not yet written."""
        held = self.held
        self._buffer.clear()
        self._flight.clear()
        self._again.clear()
        self._retained.clear()
        self._epoch = 0
        self.is_open = False
        return held

    def _start(self, grant: Grant) -> Reconciled:
        dropped = self.drop()
        self._retained.clear(grant.received_us)
        self.narrator = Narrator(self.narrator.scope, self._wall())
        self.written_us, self.last_event_us = grant.received_us, count_of(grant.status.get("last_event"))
        return Reconciled(continuing=False, dropped=dropped)

    def _continue(self, grant: Grant, now: float) -> Reconciled:
        applied = self._acknowledge(grant.batch, now)
        forgotten = self._retained.take_above(grant.received_us)
        self._again.extendleft(item for batch in reversed(self._flight) for item in reversed(batch.items))
        self._flight.clear()
        is_replaced = grant.log_name != self._log_name
        if forgotten is None:
            return Reconciled(continuing=True, applied=applied, replaced=is_replaced)
        self._again.extendleft(reversed(forgotten.again))
        self.notices([self._told_forgotten(forgotten, grant, is_replaced=is_replaced)])
        return Reconciled(
            continuing=True,
            applied=applied,
            resent=len(forgotten.again),
            forgotten_ticks=forgotten.ticks,
            replaced=is_replaced,
        )

    def _told_forgotten(self, forgotten: Forgotten, grant: Grant, *, is_replaced: bool) -> FeedStatus:
        """A replaced log is another; of one that was cut off, what lay behind the cut is counted if it is known."""
        is_known = is_replaced or forgotten.is_whole
        return self.narrator.span(
            Cause.LOG_REPLACED if is_replaced else Cause.LOG_ROLLED_BACK,
            forgotten.first_us if is_known else grant.received_us + 1,
            forgotten.last_us,
            count=forgotten.ticks if is_known else None,
            message=f"Redis lost what it had acknowledged: {len(forgotten.again)} events are written again, "
            + ("ticks are gone" if is_known else "older ones are gone, orders and candles may be among them"),
        )

    def _acknowledge(self, batch_id: str, now: float) -> str:
        """Only the batch in flight can have been applied without an answer; the one encoded ahead was not sent."""
        if self._flight and self._flight[0].batch_id == batch_id:
            batch = self._flight[0]
            self.applied(batch, now)
            return batch.flags
        return ""

    def _raise_floor(self, floor_us: int) -> None:
        """Every ``r`` from here on must be above the logs' last entries."""
        self.last_us = max(self.last_us, floor_us)
        if self._again and self._again[0][0] <= floor_us:
            self._stamp_anew(floor_us)
        elif not self._again and len(self._buffer):
            # Waiting events are above every one that was in flight; only a log with foreign entries is ahead of them.
            first = self._buffer.take(1, 1)
            self._again.extend(first)
            if first[0][0] <= floor_us:
                self._stamp_anew(floor_us)

    def _stamp_anew(self, floor_us: int) -> None:
        """A log is ahead of events that wait (the clock went back, or a seq hash was lost): they move above it."""
        held = [*self._again, *self._buffer.take(len(self._buffer), sys.maxsize)]
        self._again.clear()
        last = floor_us
        for received_us, *rest in held:
            last = max(received_us, last + 1)
            self._again.append((last, *rest))  # type: ignore[arg-type] # a tuple of the same six
        self.last_us = max(self.last_us, last)

    def _packed(self, topic: str, fields: dict[str, Any]) -> bytes:
        """The fields as they will stand in the envelope, with the frame where it is kept.

        Raises:
            EnvelopeError: too large, or something msgpack cannot carry.
        """
        try:
            packed = self._pack(fields)
        except (TypeError, ValueError, OverflowError) as exc:
            raise EnvelopeError(f"fields of {topic} cannot be packed: {exc}", field="d") from exc
        if len(packed) > MAX_DATA_BYTES:
            raise EnvelopeError(f"{topic}: {len(packed)} bytes of fields are more than {MAX_DATA_BYTES}", field="d")
        return packed
