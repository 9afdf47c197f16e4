"""Writes envelopes as a bridge does (publish, latest key, log, seq), for tests of readers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis

from agentexchange_schemas import FeedState, Layout
from agentexchange_schemas.envelope import encode, log_id

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LayoutWriter"]


class LayoutWriter:
    """One scope's writer. Sequence, epoch and received time are its own."""

    def __init__(self, url: str, scope: str = "m0", *, epoch: int = 1, layout: Layout | None = None) -> None:
        self.layout = layout or Layout()
        self.scope = scope
        self._epoch = epoch
        self.client = redis.Redis.from_url(url, socket_timeout=5)
        self.log_name = "log-1"
        self.seqs: dict[str, int] = {}
        self.received_us = int(time.time() * 1e6)

    @property
    def epoch(self) -> int:
        """The fencing number; a new one is taken with the lease, where that is held."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self.client.set(self.layout.epoch(self.scope), epoch)
        self.client.set(self.layout.lease(self.scope), f"worker-1/{epoch}", xx=True, keepttl=True)

    def install(self, **meta: Any) -> None:
        fields = {"version": 1, "partitions": self.layout.partitions} | meta
        self.client.hset(self.layout.meta, mapping=fields)

    def lease(self, state: FeedState = FeedState.LIVE, *, ttl_ms: int | None = None) -> None:
        """Hold the lease (without end unless told) and write the status hash."""
        self.client.hsetnx(self.layout.seq(self.scope), "#id", self.log_name)
        self.client.set(self.layout.epoch(self.scope), self.epoch)
        self.client.set(self.layout.lease(self.scope), f"worker-1/{self.epoch}", px=ttl_ms)
        self.state(state)

    def state(self, state: FeedState, **more: Any) -> None:
        """Write the status hash; ``more`` are further fields."""
        fields = {
            "state": state.value,
            "since": "2026-11-22T10:00:00.000000Z",
            "worker": "worker-1",
            "epoch": self.epoch,
        } | more
        self.client.hset(self.layout.status(self.scope), mapping=fields)

    def release(self) -> None:
        self.client.delete(self.layout.lease(self.scope))

    def heartbeat(self, state: FeedState = FeedState.LIVE, **more: Any) -> None:
        data = {
            "kind": "heartbeat",
            "state": state.value,
            "since": "2026-11-22T10:00:00.000000Z",
            "worker": "worker-1",
            "log_id": self._last_id(self.layout.log(self.scope)),
            "candle_log_id": self._last_id(self.layout.candle_log(self.scope)),
        } | more
        self.state(state)
        self._publish("status", self.envelope("status", data, seq=None))

    def notice(self, data: dict[str, Any]) -> None:
        raw = self.envelope("status", data, seq=self._next("status"))
        self._log(raw, "status")
        self._publish("status", raw)

    def ticker(self, symbol: str, price: str, **more: Any) -> None:
        self.event(f"ticker:{symbol}", {"symbol": symbol, "price": price, "timestamp": None} | more)

    def event(self, topic: str, data: dict[str, Any], *, channel: bool = True, latest: bool = True) -> None:
        """One event everywhere, in one step as the bridge does; ``channel=False`` keeps it from subscribers."""
        self.seqs[topic] = seq = self.seqs.get(topic, 0) + 1
        raw = self.envelope(topic, data, seq=seq)
        is_within = isinstance(self.client, redis.client.Pipeline)  # a test's own step, which executes it
        step = self.client if is_within else self.client.pipeline(transaction=True)
        step.hset(self.layout.seq(self.scope), mapping={topic: seq, "#id": self.log_name})
        step.xadd(self._log_of(topic), {"e": raw}, id=log_id(self.received_us))
        if latest:
            step.set(self.layout.latest(self.scope, topic), raw)
        if channel:
            step.publish(self.layout.channel(self.scope, topic), raw)
        if not is_within:
            step.execute()

    def forming(self, topic: str, data: dict[str, Any]) -> None:
        self._publish(topic, self.envelope(topic, data, seq=None))

    def envelope(self, topic: str, data: dict[str, Any], *, seq: int | None) -> bytes:
        self.received_us += 1
        return encode(topic, self.epoch, seq, None, self.received_us, data, self.received_us)

    def _last_id(self, log: str) -> str | None:
        last = self.client.xrevrange(log, count=1)
        return last[0][0].decode() if last else None

    def bulk(self, topics: Sequence[str], count: int, *, channel: bool = False, pad: str = "") -> None:
        """``count`` events, the topics taking turns, as ``price`` their seq; a thousand times faster than `event`."""
        pipe = self.client.pipeline(transaction=False)
        for number in range(count):
            topic = topics[number % len(topics)]
            self.seqs[topic] = seq = self.seqs.get(topic, 0) + 1
            raw = self.envelope(topic, {"price": str(seq), "pad": pad}, seq=seq)
            pipe.xadd(self._log_of(topic), {"e": raw}, id=log_id(self.received_us))
            pipe.set(self.layout.latest(self.scope, topic), raw)
            if channel:
                pipe.publish(self.layout.channel(self.scope, topic), raw)
            if number % 500 == 499:
                pipe.execute()
        pipe.hset(self.layout.seq(self.scope), mapping={**self.seqs, "#id": self.log_name})
        pipe.execute()

    def _log_of(self, topic: str) -> str:
        return self.layout.candle_log(self.scope) if topic.startswith("candles") else self.layout.log(self.scope)

    def _next(self, topic: str) -> int:
        self.seqs[topic] = self.seqs.get(topic, 0) + 1
        self.client.hset(self.layout.seq(self.scope), mapping={topic: self.seqs[topic], "#id": self.log_name})
        return self.seqs[topic]

    def _log(self, raw: bytes, topic: str) -> None:
        self.client.xadd(self._log_of(topic), {"e": raw}, id=log_id(self.received_us))

    def _publish(self, topic: str, raw: bytes) -> None:
        self.client.publish(self.layout.channel(self.scope, topic), raw)

    def close(self) -> None:
        self.client.close()
