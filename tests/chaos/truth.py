"""What Redis really holds: the logs and the keys beside them, read past every proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis

from agentexchange_schemas import FeedStatus, Layout
from agentexchange_schemas.envelope import STATUS_TOPIC, decode
from agentexchange_schemas.envelope import log_id as entry_id_of

from .history import MARKET, NUMBER_FIELD, Logged, ScopeLog, us

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TruthReader"]

PAGE: Final = 2000
OVERLAP_US: Final = us(60)
"""Read again at each `collect`: a killed Redis may have forgotten the last seconds of what was read before."""


class TruthReader:
    """Reads everything, now and then: a long run's log is trimmed before its end. Blocking: use it on a thread."""

    def __init__(self, port: int, account: str) -> None:
        self._redis = redis.Redis(port=port, socket_timeout=20, socket_connect_timeout=5)
        self._layout = Layout()
        self._scopes = (MARKET, account)
        self._logs = {scope: ScopeLog() for scope in self._scopes}

    def close(self) -> None:
        """Give up the connection."""
        self._redis.close()

    def lease(self, scope: str) -> str | None:
        """Who holds it: ``<worker>/<epoch>``."""
        value: Any = self._redis.get(self._layout.lease(scope))
        return None if value is None else value.decode()

    def collect(self) -> dict[str, ScopeLog]:
        """Read on, and return all that was read so far."""
        for scope, log in self._logs.items():
            log.entries = self._read(self._layout.log(scope), log.entries, log)
            if scope == MARKET:
                log.candles = self._read(self._layout.candle_log(scope), log.candles, log)
            seqs: Any = self._redis.hgetall(self._layout.seq(scope))
            log.seqs = {k.decode(): int(v) for k, v in seqs.items() if not k.startswith(b"#")}
            log.latest = self._latest(scope, log.seqs)
        return self._logs

    def wipe(self) -> None:
        """FLUSHALL, in one transaction with reading what it wipes: `collect` begins new logs."""
        fresh = {scope: ScopeLog() for scope in self._scopes}
        with self._redis.pipeline(transaction=True) as together:
            streams = [(log, key, kept) for scope, log in self._logs.items() for key, kept in self._streams(scope, log)]
            for _, key, kept in streams:
                together.xrange(key, entry_id_of(_overlap(kept)), "+")
            together.flushall()
            replies = together.execute()
        for (log, key, kept), page in zip(streams, replies, strict=False):
            start_us = _overlap(kept)
            entries = [entry for entry in kept if entry.r_us < start_us] + [_entry(i.decode(), f) for i, f in page]
            if key.endswith("candles"):
                log.candles = entries
            else:
                log.entries = entries
        for scope, log in fresh.items():
            self._logs[scope].has_keys = False
            log.earlier = [*self._logs[scope].earlier, self._logs[scope]]
        self._logs = fresh

    def _streams(self, scope: str, log: ScopeLog) -> list[tuple[str, list[Logged]]]:
        streams = [(self._layout.log(scope), log.entries)]
        return [*streams, (self._layout.candle_log(scope), log.candles)] if scope == MARKET else streams

    def _read(self, key: str, known: list[Logged], log: ScopeLog) -> list[Logged]:
        start_us = _overlap(known)
        kept = [entry for entry in known if entry.r_us < start_us]
        cursor = entry_id_of(start_us)
        while True:
            page: Any = self._redis.xrange(key, cursor, "+", count=PAGE)
            kept.extend(_entry(entry_id.decode(), fields) for entry_id, fields in page)
            if len(page) < PAGE:
                log.is_whole = log.is_whole and len(kept) >= self._added(key)
                return kept
            cursor = f"({page[-1][0].decode()}"

    def _added(self, key: str) -> int:
        """How many entries the stream has ever had: what was trimmed before it was read is gone for the checks, too."""
        if not self._redis.exists(key):
            return 0
        info: Any = self._redis.xinfo_stream(key)
        return int(info["entries-added"])

    def _latest(self, scope: str, topics: Iterable[str]) -> dict[str, str]:
        names = [topic for topic in topics if topic not in (STATUS_TOPIC, "orders")]
        keys = [self._layout.latest(scope, topic) for topic in names]
        values: Any = self._redis.mget(keys) if keys else []
        pairs = zip(names, values, strict=True)
        return {topic: entry_id_of(decode(raw).received_us) for topic, raw in pairs if raw is not None}


def _overlap(known: list[Logged]) -> int:
    """From where to read again."""
    return max(0, known[-1].r_us - OVERLAP_US) if known else 0


def _entry(entry_id: str, fields: dict[bytes, bytes]) -> Logged:
    envelope = decode(fields[b"e"])
    notice = FeedStatus.from_fields(envelope.data) if envelope.topic == STATUS_TOPIC else None
    number = envelope.data.get(NUMBER_FIELD)
    return Logged(
        entry_id,
        envelope.topic,
        envelope.epoch,
        envelope.seq,
        envelope.received_us,
        number if isinstance(number, int) else None,
        notice,
    )
