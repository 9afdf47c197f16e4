"""Hand-made histories: a faultless one, to be spoilt by a test in one place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agentexchange_schemas import Cause, FeedState, FeedStatus
from agentexchange_schemas.envelope import log_id
from tests.chaos.history import MARKET, Call, Fault, History, Incarnation, Logged, ScopeLog, Sent, Told, scope_of, us

ACCOUNT = "a-" + "0" * 32
START_US = us(1_800_000_000)
_START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START_US)

TICK = "ticker:BTCUSDT"


def at(seconds: float) -> int:
    """Seconds after the story's start."""
    return START_US + us(seconds)


def when(seconds: float) -> datetime:
    """The same as a time."""
    return _START + timedelta(seconds=seconds)


class Story:
    """Events are sent, written (10 ms later) and delivered (10 ms later still) one by one; seconds count from 0."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.logs = {MARKET: ScopeLog(), ACCOUNT: ScopeLog()}
        self.consumer = Incarnation("one", 1, {TICK: (TICK,), "orders": ("orders",)}, START_US)
        self.others: list[Incarnation] = []
        self.faults: list[Fault] = []
        self.epoch = 7

    def flow(self, topic: str = TICK, start: float = 0.0, count: int = 10, every: float = 0.1) -> None:
        """Send, write and deliver ``count`` events."""
        for index in range(count):
            self.send(topic, start + index * every)
            entry = self.write(topic, start + index * every + 0.01)
            self.deliver(entry)

    def send(self, topic: str, seconds: float, connections: tuple[int, ...] = (1,)) -> int:
        """Upstream generates the topic's next event."""
        n = sum(event.topic == topic for event in self.sent) + 1
        self.sent.append(Sent(at(seconds), topic, n, connections))
        return n

    def write(self, topic: str, seconds: float, n: int | None = None) -> Logged:
        """The bridge writes the topic's last event, or number ``n``."""
        log = self.logs[scope_of(topic, ACCOUNT)]
        stream = log.candles if topic.startswith("candles:") else log.entries
        n = n or next(event.n for event in reversed(self.sent) if event.topic == topic)
        seq = log.seqs[topic] = log.seqs.get(topic, 0) + 1
        r_us = max(at(seconds), stream[-1].r_us + 1 if stream else 0)
        entry = Logged(log_id(r_us), topic, self.epoch, seq, r_us, n)
        stream.append(entry)
        if topic != "orders":
            log.latest[topic] = entry.entry_id
        return entry

    def notice(self, seconds: float, scope: str = MARKET, **fields: Any) -> FeedStatus:
        """The bridge writes a notice, and the consumer is told."""
        status = FeedStatus.model_validate({"scope": scope, "state": FeedState.LIVE} | fields)
        log = self.logs[scope]
        seq = log.seqs["status"] = log.seqs.get("status", 0) + 1
        r_us = max(at(seconds), log.entries[-1].r_us + 1 if log.entries else 0)
        log.entries.append(Logged(log_id(r_us), "status", self.epoch, seq, r_us, None, status))
        self.consumer.told.append(Told(r_us, status))
        return status

    def blind(self, since: float, until: float, scope: str = MARKET) -> FeedStatus:
        """A blind span is told, when it is over."""
        return self.notice(until, scope, since=when(since), until=when(until), cause=Cause.UPSTREAM_LOST)

    def deliver(self, entry: Logged, seconds: float | None = None, source: str = "live", **fields: Any) -> Call:
        """The consumer's handler is called."""
        at_us = at(seconds) if seconds is not None else entry.r_us + us(0.01)
        call = Call(at_us, entry.topic, entry.topic, entry.n, entry.seq, entry.epoch, source)
        call = call._replace(**fields)
        self.consumer.calls.append(call)
        return call

    def gap(self, seconds: float, first: int, last: int, topic: str = TICK, **fields: Any) -> None:
        """The consumer is told of a gap."""
        known = {"first_missing": first, "last_missing": last, "count": last - first + 1, "cause": Cause.DROPPED}
        status = FeedStatus(
            scope=scope_of(topic, ACCOUNT), topic=topic, state=FeedState.LIVE, since=when(seconds), **(known | fields)
        )
        self.consumer.told.append(Told(at(seconds), status))

    def entry(self, topic: str, n: int) -> Logged:
        """The entry of one event."""
        log = self.logs[scope_of(topic, ACCOUNT)]
        return next(entry for entry in log.events if (entry.topic, entry.n) == (topic, n))

    def drop_call(self, topic: str, n: int) -> None:
        """The handler was not called with it after all."""
        self.consumer.calls = [call for call in self.consumer.calls if (call.topic, call.n) != (topic, n)]

    def rewrite(self, topic: str, n: int, **fields: Any) -> None:
        """One entry is another."""
        log = self.logs[scope_of(topic, ACCOUNT)]
        log.entries = [
            entry._replace(**fields) if (entry.topic, entry.n) == (topic, n) else entry for entry in log.entries
        ]

    def killed_redis(self, start: float, end: float) -> None:
        """Redis was killed and restarted."""
        self.faults.append(Fault(at(start), at(end), "kill", "redis"))

    def member(self, name: str, died: float | None = None, mode: str = "group", number: int = 1) -> Incarnation:
        """One more consumer of orders, in a group or with a position named ``crew``."""
        found = replace(
            Incarnation(name, number, {"orders": ("orders",)}, START_US, mode=mode, name="crew"),
            died_us=None if died is None else at(died),
        )
        self.others.append(found)
        return found

    def history(self, end: float = 60.0) -> History:
        """All of it."""
        return History(
            account=ACCOUNT,
            sent=sorted(self.sent),
            logs=self.logs,
            incarnations=[self.consumer, *self.others],
            faults=self.faults,
            disturbances=[],
            end_us=at(end),
        )
