"""Where a shared client's envelopes arrive: decoded, put in order, told apart and handed to the dispatcher.

The hot path is `Inbox.on_messages` (pub/sub) and `Inbox.on_entries` (log); everything irregular leaves it for
`Inbox._irregular`. What is known of a topic survives a lost connection.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import Cause, EnvelopeError, FeedState, FeedStatus
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

from ._shared_flow import MAX_HELD, Flow, Order
from ._shared_read import utc_of
from ._shared_scope import ScopeWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from agentexchange_schemas import Envelope

    from ._dispatch import Dispatcher
    from ._shared_options import SharedOptions

__all__ = ["Inbox"]

_log = logging.getLogger("agentexchange.shared")
_MESSAGE: Final = b"message"


class Inbox:
    """Flows and scopes of one client, and the way from bytes to handlers.

    Attributes:
        counts: ``events``, ``duplicates``, ``gaps``, ``missing``, ``junk``, ``heartbeats``, ``notices``.
        on_control: gets every reply of the pub/sub connection that is no message.
        on_change: called after a scope's state changed, or came under an unknown epoch.
        unsettled: scopes under an epoch whose log has not been looked at; their events are held until `settle`.
    """

    def __init__(self, dispatcher: Dispatcher, options: SharedOptions) -> None:
        self._event = dispatcher.event
        self._tell = dispatcher.status
        self._options = options
        self._flows: dict[str, dict[str, Flow]] = {}
        self._channels: dict[bytes, Flow] = {}
        self._watches: dict[str, ScopeWatch] = {}
        self._log_ids: dict[str, bytes] = {}
        self._epochs: dict[str, int] = {}
        self.unsettled: dict[str, int] = {}
        self._junk_logged: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.on_control: Callable[[Any], None] = _ignore
        self.on_change: Callable[[], None] = _ignore_change

    @property
    def signs(self) -> int:
        """How many messages have come: proof that a subscription works."""
        return self.counts.total()

    # What is open

    def watch(self, scope: str) -> ScopeWatch:
        """The scope's watch, made at first use."""
        if scope not in self._watches:
            self._watches[scope] = ScopeWatch(scope)
        return self._watches[scope]

    def flow(self, scope: str, topic: str) -> Flow:
        """The topic's flow, made at first use."""
        flows = self._flows.setdefault(scope, {})
        if topic not in flows:
            flows[topic] = Flow(scope, topic, is_event=topic != STATUS_TOPIC)
        return flows[topic]

    def open_channel(self, channel: str, flow: Flow) -> None:
        """Take the messages of ``channel`` as those of ``flow``."""
        self._channels[channel.encode()] = flow

    def close_channel(self, channel: str) -> None:
        """Take them no more."""
        self._channels.pop(channel.encode(), None)

    def forget(self, flow: Flow) -> None:
        """Nobody wants the topic: when it is wanted again it begins anew, without a gap."""
        self._flows.get(flow.scope, {}).pop(flow.topic, None)

    def forget_scope(self, scope: str) -> None:
        """Nobody wants anything of the scope."""
        self._flows.pop(scope, None)
        self._watches.pop(scope, None)
        for known in (self._log_ids, self._epochs, self.unsettled):
            known.pop(scope, None)

    def learn_log(self, scope: str, log_id: bytes) -> bool:
        """Take the name of the scope's log: whether it replaces another one, whose seqs then mean nothing any more."""
        known = self._log_ids.setdefault(scope, log_id)
        if known == log_id:
            return False
        self._log_ids[scope] = log_id
        for flow in self._flows.get(scope, {}).values():
            flow.replace()
        return True

    def settle(self, scope: str, epoch: int, *, keep: Container[Flow]) -> None:
        """The log under ``epoch`` was looked at: hand out what waited for it, save what waits for more."""
        self._epochs[scope] = epoch
        if self.unsettled.get(scope, 0) <= epoch:
            self.unsettled.pop(scope, None)
        for flow in list(self._flows.get(scope, {}).values()):
            if flow.held is not None and flow not in keep:
                self.release(flow)

    def disconnected(self, reason: str) -> None:
        """The connections are gone: what was held is handed out, every scope is told blind."""
        self._channels.clear()
        self.unsettled.clear()
        for flows in self._flows.values():
            for flow in flows.values():
                self.release(flow)
                flow.cut()
        for watch in self._watches.values():
            self.tell(watch.lost(reason, now=self._options.now()))

    # What arrives

    def on_messages(self, replies: list[Any]) -> None:
        """A batch of replies of the pub/sub connection. Hot path."""
        channels, event, count = self._channels, self._event, 0
        for reply in replies:
            try:
                kind, channel, raw = reply
                flow = channels[channel]
                if kind != _MESSAGE:
                    raise KeyError(kind)  # noqa: TRY301 - a reply to SUBSCRIBE: as rare as the others here
                envelope = decode(raw)
            except EnvelopeError as exc:
                self._on_junk(exc, flow.topic)
                continue
            except (TypeError, ValueError, KeyError):
                self.on_control(reply)
                continue
            topic, epoch, seq, _, received_us, fields = envelope
            if seq == flow.next_seq and epoch == flow.epoch and topic == flow.topic:
                flow.seq = seq
                flow.next_seq = seq + 1
                flow.received_us = received_us
                count += 1
                event(topic, fields, envelope, "live", flow.scope)
            else:
                self._irregular(flow, envelope)
        self.counts["events"] += count

    def on_entries(self, scope: str, entries: list[Any]) -> None:
        """A batch of a scope's log entries. Hot path."""
        flows, event, count = self._flows.setdefault(scope, {}), self._event, 0
        for entry in entries:
            try:
                envelope = decode(entry[1][1])
            except EnvelopeError as exc:
                self._on_junk(exc, scope)
                continue
            except (TypeError, LookupError):
                self._on_junk(EnvelopeError("log entry: not one field with an envelope", field="entry"), scope)
                continue
            topic, epoch, seq, _, received_us, fields = envelope
            flow = flows.get(topic) or self.flow(scope, topic)
            if seq == flow.next_seq and epoch == flow.epoch:
                flow.seq = seq
                flow.next_seq = seq + 1
                flow.received_us = received_us
                count += 1
                event(topic, fields, envelope, "live", scope)
            else:
                self._irregular(flow, envelope)
        self.counts["events"] += count

    def _irregular(self, flow: Flow, envelope: Envelope) -> None:
        """Everything but the next event of a topic."""
        if envelope.topic != flow.topic:
            self._on_junk(EnvelopeError(f"envelope: {envelope.topic} came as {flow.topic}", field="t"), flow.topic)
        elif not flow.is_event:
            self._on_status(flow, envelope)
        elif envelope.seq is None:  # a forming candle: no place in the log, nothing to order
            self._hand_out(flow, envelope, "live")
        else:
            if self.is_new_epoch(flow.scope, envelope.epoch):
                flow.hold()
            self._take_or_hold(flow, envelope)

    def is_new_epoch(self, scope: str, epoch: int) -> bool:
        """Whether the writer is another than before: its log may be another one, too, and is looked at first."""
        if scope in self._log_ids:
            self._epochs.setdefault(scope, epoch)
        if epoch <= self._epochs.get(scope, 0):
            return False
        self.unsettled[scope] = max(epoch, self.unsettled.get(scope, 0))
        self.on_change()
        return True

    def _take_or_hold(self, flow: Flow, envelope: Envelope) -> None:
        if flow.held is not None and len(flow.held) < MAX_HELD:
            flow.held.append(envelope)
            return
        if flow.held is not None:
            self.release(flow)
        self.take(flow, envelope)

    def take(self, flow: Flow, envelope: Envelope, source: str = "live") -> None:
        """Hand out one event in its place: drop a double, tell a hole first."""
        match flow.order(envelope):
            case Order.OLD:
                self.counts["duplicates"] += 1
                return
            case Order.HOLE:
                self._on_hole(flow, envelope)
            case Order.REPLACED:
                self._on_replaced(flow, envelope)
        is_again = flow.was_handed_out(envelope)
        flow.advance(envelope)
        if is_again:
            self.counts["duplicates"] += 1
        else:
            self._hand_out(flow, envelope, source)

    def release(self, flow: Flow, latest: Envelope | None = None) -> None:
        """End a hold: the latest value first where the topic begins, then what was held; each event once."""
        if flow.held is None and flow.has_begun:
            return  # it runs already: the latest value would overtake what is on its way
        for envelope in flow.release(latest):
            self.take(flow, envelope, "latest" if envelope is latest else "live")

    def _hand_out(self, flow: Flow, envelope: Envelope, source: str) -> None:
        self.counts["events"] += 1
        self._event(flow.topic, envelope.data, envelope, source, flow.scope)

    # What is told

    def tell(self, status: FeedStatus | None) -> None:
        """Tell the status handlers, if there is anything to tell."""
        if status is not None:
            self._tell(status)
            self.on_change()

    def _on_status(self, flow: Flow, envelope: Envelope) -> None:
        try:
            self.is_new_epoch(flow.scope, envelope.epoch)
            if envelope.seq is None:
                self._on_heartbeat(flow, envelope)
            elif flow.order(envelope) is not Order.OLD:
                self._on_notice(flow, envelope)
        except EnvelopeError as exc:
            self._on_junk(exc, flow.topic)

    def _on_heartbeat(self, flow: Flow, envelope: Envelope) -> None:
        self.counts["heartbeats"] += 1
        options = self._options
        self.tell(self.watch(flow.scope).heartbeat(envelope.data, now=options.now(), clock=options.clock()))

    def _on_notice(self, flow: Flow, envelope: Envelope) -> None:
        is_again = flow.was_handed_out(envelope)
        flow.advance(envelope)
        if is_again:
            return
        status = FeedStatus.from_fields(envelope.data)
        self.counts["notices"] += 1
        self.watch(flow.scope).notice(status)
        self.tell(status)

    def _on_hole(self, flow: Flow, envelope: Envelope) -> None:
        assert envelope.seq is not None  # noqa: S101 - only what has a seq is ordered
        count = envelope.seq - flow.seq - 1
        self.counts["missing"] += count
        self._on_gap(
            flow,
            envelope,
            cause=Cause.REDIS_LOST if flow.is_cut else Cause.DROPPED,
            first_missing=flow.seq + 1,
            last_missing=envelope.seq - 1,
            count=count,
            message=f"{flow.topic}: {count} events are missing",
        )

    def _on_replaced(self, flow: Flow, envelope: Envelope) -> None:
        """How many are missing cannot be known: the new log counts anew."""
        self._on_gap(flow, envelope, cause=Cause.LOG_REPLACED, message=f"{flow.topic}: the log was replaced by another")

    def _on_gap(self, flow: Flow, envelope: Envelope, **what: Any) -> None:
        self.counts["gaps"] += 1
        self.tell(
            FeedStatus(
                scope=flow.scope,
                topic=flow.topic,
                state=self.watch(flow.scope).state or FeedState.CONNECTING,
                since=utc_of(flow.received_us),
                until=utc_of(envelope.received_us),
                **what,
            )
        )

    def _on_junk(self, exc: EnvelopeError, where: str) -> None:
        """Count it, and log the first of a kind."""
        self.counts["junk"] += 1
        if exc.field not in self._junk_logged:
            self._junk_logged.add(exc.field)
            _log.warning("unreadable envelope in %s (further ones of the kind are only counted): %s", where, exc)


def _ignore(reply: Any) -> None:
    del reply


def _ignore_change() -> None:
    pass
