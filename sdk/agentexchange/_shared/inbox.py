"""Where a shared client's envelopes arrive: decoded, put in order, told apart and handed to the dispatcher.

The hot path is `Inbox.on_messages` (pub/sub) and `Inbox.on_entries` (log); everything irregular leaves it for
`Inbox._irregular`. What is known of a topic survives a lost connection.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import Cause, EnvelopeError, FeedStatus
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

from .flow import Flow, Order
from .pick import key_of, pick
from .tell import Teller

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from agentexchange._dispatch import Dispatcher
    from agentexchange_schemas import Envelope

    from .commands import Marks
    from .options import SharedOptions

__all__ = ["Inbox"]

_MESSAGE: Final = b"message"


class Inbox:
    """Flows and scopes of one client, and the way from bytes to handlers.

    Attributes:
        teller: counts, and tells the status handlers.
        on_control: gets every reply of the pub/sub connection that is no message.
        is_concerned: whether what is told of a topic is to be handed on.
        on_behind: called with each flow that has missed something: it is to be read from the log.
        unsettled: scopes under an epoch that was not looked at; their events are held until `settle`.
        log_fed: market scopes whose ticks and notices are read from the log, not from channels: by scope, the flows
            that are wanted by their key, or None for every ticker.
    """

    def __init__(self, dispatcher: Dispatcher, options: SharedOptions) -> None:
        self._event = dispatcher.event
        self._dispatcher = dispatcher
        self._blocked = dispatcher.blocked
        self._options = options
        self._flows: dict[str, dict[str, Flow]] = {}
        self._channels: dict[bytes, Flow] = {}
        self._log_ids: dict[str, bytes] = {}
        self._epochs: dict[str, int] = {}
        self.log_fed: dict[str, dict[bytes, Flow] | None] = {}
        self.unsettled: set[str] = set()
        self.teller = Teller(dispatcher.status, options.now)
        self.counts = self.teller.counts
        self.is_concerned: Callable[[str], bool] = _anything
        self.on_control: Callable[[Any], None] = _ignore
        self.on_behind: Callable[[Flow], None] = _ignore
        dispatcher.log_backed = True
        dispatcher.on_room = self._on_room

    @property
    def signs(self) -> int:
        """How many messages have come: proof that a subscription works."""
        return self.counts.total()

    @property
    def held(self) -> int:
        """Envelopes that wait for a read of Redis."""
        return sum(len(flow.held or ()) for flow in self.flows())

    # What is open

    def flow(self, scope: str, topic: str) -> Flow:
        """The topic's flow, made at first use."""
        flows = self._flows.setdefault(scope, {})
        if topic not in flows:
            flows[topic] = Flow(scope, topic, is_event=topic != STATUS_TOPIC)
        return flows[topic]

    def flows(self, scope: str | None = None) -> Iterator[Flow]:
        """Every flow, or every one of a scope."""
        scopes = list(self._flows) if scope is None else [scope]
        for name in scopes:
            yield from list(self._flows.get(name, {}).values())

    def open_channel(self, channel: str, flow: Flow) -> None:
        """Take the messages of ``channel`` as those of ``flow``."""
        self._channels[channel.encode()] = flow

    def close_channel(self, channel: str) -> None:
        """Take them no more."""
        self._channels.pop(channel.encode(), None)

    def feed_from_log(self, scope: str, topics: Iterable[str] | None) -> None:
        """From now on the scope's notices and these tickers (None: all) come by `on_entries`, and only so."""
        if topics is None:
            self.log_fed[scope] = None
        else:
            wanted = (*topics, STATUS_TOPIC)
            self.log_fed[scope] = {key_of(topic): self.flow(scope, topic) for topic in wanted}

    def is_log_fed(self, flow: Flow) -> bool:
        """Whether its events come out of the log as they are written: what is missing there is nowhere."""
        return flow.scope in self.log_fed and (not flow.is_event or flow.topic.startswith("ticker:"))

    def forget(self, flow: Flow) -> None:
        """Nobody wants the topic: when it is wanted again it begins anew, without a gap."""
        self._flows.get(flow.scope, {}).pop(flow.topic, None)
        flow.has_begun = flow.is_behind = False  # for whoever reads it from the log right now

    def forget_scope(self, scope: str) -> None:
        """Nobody wants anything of the scope."""
        for flow in self.flows(scope):
            self.forget(flow)
        self.teller.forget(scope)
        for known in (self._flows, self._log_ids, self._epochs, self.log_fed):
            known.pop(scope, None)
        self.unsettled.discard(scope)

    def learn_log(self, scope: str, log_id: bytes) -> bool:
        """Take the name of the scope's log: whether it replaces another one, whose seqs then mean nothing any more."""
        known = self._log_ids.setdefault(scope, log_id)
        if known == log_id:
            return False
        self._log_ids[scope] = log_id
        for flow in self.flows(scope):
            flow.replace()
            if flow.has_begun and not self.is_log_fed(flow):
                self.fall_behind(flow)
        return True

    def learn_epoch(self, scope: str, epoch: int) -> None:
        """Take the newest epoch under which the scope may have been written, as its lease or counter says."""
        self._epochs[scope] = epoch

    def suspects(self, scope: str) -> list[Envelope]:
        """What is held of the scope because its epoch is not known yet."""
        known = self._epochs.get(scope, 0)
        return [envelope for flow in self.flows(scope) for envelope in flow.held or () if envelope.epoch > known]

    def settle(self, scope: str, suspects: list[Envelope], *, keep: Container[Flow]) -> None:
        """The scope was looked at since ``suspects`` came: hand out what waited for it, save what waits for more.

        A suspect whose epoch the server had not given out by then is nobody's who may write.
        """
        known = self._epochs.get(scope, 0)
        forged = [envelope for envelope in suspects if envelope.epoch > known]
        for flow in self.flows(scope):
            self._drop(flow, forged)
            if flow.is_behind:
                self.on_behind(flow)
            elif flow.has_begun and flow not in keep and all(held.epoch <= known for held in flow.held or ()):
                self.release(flow)
        if not self.suspects(scope):  # else some came since, and there is another look
            self.unsettled.discard(scope)

    def vet(self, flow: Flow, marks: Marks) -> None:
        """The topic is about to begin: drop what is held and cannot be, going by what the server counts."""
        self._drop(flow, flow.implausible(marks.seqs[flow.topic], marks.epoch, marks.received_us))

    def vetted(self, flow: Flow, latest: Envelope | None, marks: Marks) -> Envelope | None:
        """The latest value to begin with, unless the server counts less than it claims; held ones are vetted too."""
        self.vet(flow, marks)
        if latest is None or flow.is_plausible(latest, marks.seqs[flow.topic], marks.epoch, marks.received_us):
            return latest
        self.teller.forged(flow)
        return None

    def _drop(self, flow: Flow, forged: list[Envelope]) -> None:
        """Count those of ``forged`` that the flow holds, and hold them no more."""
        if not (forged and flow.held):
            return
        kept = [envelope for envelope in flow.held if envelope not in forged]
        for _ in range(len(flow.held) - len(kept)):
            self.teller.forged(flow)
        flow.held = kept

    def unread(self) -> dict[str, int]:
        """Of scopes read from the log: the first place whose event was read but not handed out."""
        held = [flow for flow in self.flows() if flow.held and self.is_log_fed(flow)]
        firsts: dict[str, int] = {}
        for flow in held:
            assert flow.held is not None  # noqa: S101 - as selected
            first = flow.held[0].received_us
            firsts[flow.scope] = min(first, firsts.get(flow.scope, first))
        return firsts

    def disconnected(self, reason: str) -> None:
        """The connections are gone: what was held is in the log, every scope is told blind."""
        self._channels.clear()
        self.unsettled.clear()
        self.on_behind = _ignore
        for flow in self.flows():
            if flow.has_begun:
                flow.held = None  # what has not begun goes on from what it holds
            flow.cut()
        self.log_fed.clear()
        self.teller.lost(reason)

    # What arrives

    def on_messages(self, replies: list[Any]) -> None:
        """A batch of replies of the pub/sub connection. Hot path."""
        channels, event, count, at = self._channels, self._event, 0, monotonic()
        for reply in replies:
            try:
                kind, channel, raw = reply
                flow = channels[channel]
                if kind != _MESSAGE:
                    raise KeyError(kind)  # noqa: TRY301 - a reply to SUBSCRIBE: as rare as the others here
                envelope = decode(raw)
            except EnvelopeError as exc:
                self.teller.junk(exc, flow.topic)
                continue
            except (TypeError, ValueError, KeyError):
                self.on_control(reply)
                continue
            topic, epoch, seq, _, received_us, fields, _ = envelope
            if seq == flow.next_seq and epoch == flow.epoch and topic == flow.topic:
                flow.seq = seq
                flow.next_seq = seq + 1
                flow.received_us = received_us
                count += 1
                event(topic, fields, envelope, "live", flow.scope, at)
            else:
                self._irregular(flow, envelope)
        self.counts["events"] += count
        if self._blocked:
            self._stop_blocked()

    def on_entries(self, scope: str, entries: list[Any], source: str = "live") -> None:
        """A batch of a scope's log entries. Hot path."""
        wanted = self.log_fed.get(scope)
        raws = _raws_of(entries) if wanted is None else [raw for _, _, raw in pick(entries, wanted)]
        self._on_raws(scope, raws, source)
        if self._blocked:
            self._stop_blocked()

    def _on_raws(self, scope: str, raws: list[Any], source: str) -> None:
        flows, event, count, at = self._flows.setdefault(scope, {}), self._event, 0, monotonic()
        for raw in raws:
            try:
                envelope = decode(raw)
            except EnvelopeError as exc:
                self.teller.junk(exc, scope)
                continue
            except TypeError:
                self.teller.junk(EnvelopeError("log entry: not one field with an envelope", field="entry"), scope)
                continue
            topic, epoch, seq, _, received_us, fields, _ = envelope
            flow = flows.get(topic) or self.flow(scope, topic)
            if seq == flow.next_seq and epoch == flow.epoch:
                flow.seq = seq
                flow.next_seq = seq + 1
                flow.received_us = received_us
                count += 1
                event(topic, fields, envelope, source, scope, at)
            else:
                self._irregular(flow, envelope, source=source, is_entry=True)
        self.counts["events" if source == "live" else "recovered"] += count

    def _irregular(self, flow: Flow, envelope: Envelope, *, source: str = "live", is_entry: bool = False) -> None:
        """Everything but the next event of a topic."""
        if envelope.topic != flow.topic:
            exc = EnvelopeError(f"envelope: {envelope.topic} came as {flow.topic}", field="t")
            self.teller.junk(exc, flow.topic)
        elif envelope.seq is None:
            self._on_placeless(flow, envelope)
        elif flow.is_event or is_entry or not self.is_log_fed(flow):
            if self.is_new_epoch(flow.scope, envelope.epoch) and not flow.is_behind:
                flow.hold()
            self._take_or_hold(flow, envelope, source)

    def is_new_epoch(self, scope: str, epoch: int) -> bool:
        """Whether the writer is another than before: its log may be another one, too, and is looked at first."""
        if epoch <= self._epochs.get(scope, 0):
            return False
        self.unsettled.add(scope)
        self.teller.on_change()
        return True

    def _on_placeless(self, flow: Flow, envelope: Envelope) -> None:
        """A heartbeat or a forming candle: no place in the log, nothing to order."""
        if not flow.is_event:
            self.is_new_epoch(flow.scope, envelope.epoch)
            self._on_heartbeat(flow, envelope)
        elif not (flow.is_behind or flow.topic in self._blocked):  # else it would come before closed ones of its past
            self._hand_out(flow, envelope, "live")

    def _take_or_hold(self, flow: Flow, envelope: Envelope, source: str) -> None:
        if flow.keep(envelope) or flow.is_behind:
            if not flow.has_begun:
                self.teller.on_change()
            return
        if flow.held is not None:
            self.release(flow)
        self.take(flow, envelope, source)

    # In order

    def take(self, flow: Flow, envelope: Envelope, source: str = "live") -> None:
        """Hand out one event in its place; drop a double; fall behind at a hole that the log can fill."""
        order = self._order(flow, envelope)
        if order is Order.OLD:
            self.counts["duplicates"] += 1
        elif self._is_to_be_read(flow, envelope, order):
            if order is Order.REPLACED and envelope.epoch > flow.epoch:
                flow.is_replaced = True
            self.fall_behind(flow)
        else:
            self._accept(flow, envelope, order, source, self._cause(flow))

    def _is_to_be_read(self, flow: Flow, envelope: Envelope, order: Order) -> bool:
        """Whether the log has the say: where events are missing, and where a time is claimed that may never come."""
        if self.is_log_fed(flow):
            return False
        return flow.leaps(envelope, self._options.now) or (
            order in (Order.HOLE, Order.REPLACED) and self.recovers(flow)
        )

    def recover(self, flow: Flow, envelope: Envelope, source: str = "recovered", cause: Cause = Cause.TRIMMED) -> None:
        """Hand out one event that was read from Redis; what lies between it and the last one is there no more."""
        order = self._order(flow, envelope)
        if order is not Order.OLD:
            self._accept(flow, envelope, order, source, cause)
            if flow.topic in self._blocked:
                flow.fall_behind()

    def resume(self, flow: Flow) -> None:
        """The log was read to its end: hand out what came since, and go on."""
        if flow.is_full:
            self.fall_behind(flow)
            return
        flow.is_cut = False
        for envelope in flow.release():
            if flow.is_behind:  # it is blocked, or another read is needed: in the log just read a hole would be filled
                return
            self.take(flow, envelope)

    def release(self, flow: Flow, latest: Envelope | None = None) -> None:
        """End a hold: the latest value first where the topic begins, then what was held; each event once."""
        if flow.held is None and flow.has_begun:
            return  # it runs already: the latest value would overtake what is on its way
        for envelope in flow.release(latest):
            if flow.is_behind:
                return
            self.take(flow, envelope, "latest" if envelope is latest else "live")

    def lose(self, flow: Flow, last: int, place_us: int, cause: Cause) -> None:
        """What is missing up to ``last`` is not to be had."""
        if flow.has_begun and flow.seq < last:
            self.teller.hole(flow, last, cause)
            flow.skip_to(last, place_us)

    def recovers(self, flow: Flow) -> bool:
        """Whether what was missed is wanted."""
        return not flow.is_event or self._dispatcher.recovers(flow.topic)

    def is_blocked(self, flow: Flow) -> bool:
        """Whether its handlers take no more just now."""
        return flow.topic in self._blocked

    def _order(self, flow: Flow, envelope: Envelope) -> Order:
        order = flow.order(envelope)
        if order is Order.REPLACED and flow.was_handed_out(envelope):
            return Order.OLD  # written again: what is new in that log is still to come
        return order

    def _accept(self, flow: Flow, envelope: Envelope, order: Order, source: str, cause: Cause) -> None:
        assert envelope.seq is not None  # noqa: S101 - only what has a seq is ordered
        is_again = flow.was_handed_out(envelope)
        if order is Order.HOLE:
            self.teller.hole(flow, envelope.seq - 1, cause, envelope)
        elif order is Order.REPLACED:
            self.teller.replaced(flow, envelope)
        flow.advance(envelope)
        if is_again:
            self.counts["duplicates"] += 1
        else:
            self._hand_out(flow, envelope, source)

    def _hand_out(self, flow: Flow, envelope: Envelope, source: str) -> None:
        if not flow.is_event:
            self._on_notice(flow, envelope)
            return
        self.counts["recovered" if source == "recovered" else "events"] += 1
        self._event(flow.topic, envelope.data, envelope, source, flow.scope)

    def _cause(self, flow: Flow) -> Cause:
        """Why events are missing that are not looked for."""
        if self.is_log_fed(flow):
            return Cause.TRIMMED
        return Cause.REDIS_LOST if flow.is_cut else Cause.DROPPED

    def fall_behind(self, flow: Flow) -> None:
        """It has missed something: what, is to be read from the log."""
        flow.fall_behind()
        self.on_behind(flow)

    # Back-pressure

    def _stop_blocked(self) -> None:
        """Hand on no more of what is blocked: it goes on from the log when there is room."""
        for flow in self.flows():
            if flow.topic in self._blocked and flow.has_begun and not flow.is_behind:
                flow.fall_behind()

    def _on_room(self, topic: str) -> None:
        for flow in self.flows():
            if flow.topic == topic and flow.is_behind:
                self.on_behind(flow)

    # Status

    def _on_heartbeat(self, flow: Flow, envelope: Envelope) -> None:
        self.counts["heartbeats"] += 1
        options, watch = self._options, self.teller.watch(flow.scope)
        try:
            self.teller.tell(watch.heartbeat(envelope.data, now=options.now(), clock=options.clock()))
        except EnvelopeError as exc:
            self.teller.junk(exc, flow.topic)

    def _on_notice(self, flow: Flow, envelope: Envelope) -> None:
        try:
            status = FeedStatus.from_fields(envelope.data)
        except EnvelopeError as exc:
            self.teller.junk(exc, flow.topic)
            return
        self.counts["notices"] += 1
        if self.teller.watch(flow.scope).notice(status, self.is_concerned):
            self.teller.tell(status)


def _raws_of(entries: list[Any]) -> list[Any]:
    """Each entry's one value; None in the place of what is no such entry."""
    try:
        return [entry[1][1] for entry in entries]
    except (TypeError, LookupError):
        return [_raw_of(entry) for entry in entries]


def _raw_of(entry: Any) -> Any:
    try:
        return entry[1][1]
    except (TypeError, LookupError):
        return None


def _ignore(what: Any) -> None:
    del what


def _anything(topic: str) -> bool:
    del topic
    return True
