"""The fan-out: which connection gets which event, how often, and what happens to a slow one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange.testing._frames import payload_of, text_frame
from agentexchange.testing._requests import ALL
from agentexchange.testing._session import ABORT, JournalEntry, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from agentexchange.testing._dialect import Dialect
    from agentexchange.testing._observe import Observations
    from agentexchange.testing._options import SlowClient

__all__ = ["Batch", "Hub"]

Batch = list[tuple[str, bytes]]
_TICKER = "ticker:"


class Hub:
    """All open sessions, indexed by what they are subscribed to."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        seen: Observations,
        slow_client: SlowClient,
        journal: Callable[[JournalEntry], None] | None,
    ) -> None:
        self.sessions: dict[int, Session] = {}
        self._dialect = dialect
        self._seen = seen
        self._slow_client = slow_client
        self._journal = journal
        self._by_topic: dict[str, dict[int, Session]] = {}
        self._by_symbol: dict[str, dict[int, Session]] = {}

    def add(self, session: Session) -> None:
        """A connection came."""
        self.sessions[session.number] = session

    def remove(self, session: Session) -> None:
        """A connection went."""
        for topic in tuple(session.topics):
            self.unsubscribe(session, topic)
        self.sessions.pop(session.number, None)
        self._seen.changed()

    def subscribe(self, session: Session, topic: str) -> None:
        """From now on ``session`` gets ``topic``; doing it again changes nothing."""
        session.topics.add(topic)
        self._by_topic.setdefault(topic, {})[session.number] = session
        if topic.startswith(_TICKER) and topic != ALL:
            symbol = topic.removeprefix(_TICKER)
            session.symbols.add(symbol)
            self._by_symbol.setdefault(symbol, {})[session.number] = session

    def unsubscribe(self, session: Session, topic: str) -> None:
        """The reverse of ``subscribe``, also for a topic that was never subscribed."""
        session.topics.discard(topic)
        _discard(self._by_topic, topic, session)
        if topic.startswith(_TICKER) and topic != ALL:
            symbol = topic.removeprefix(_TICKER)
            session.symbols.discard(symbol)
            _discard(self._by_symbol, symbol, session)

    def subscribers(self, topic: str) -> Collection[Session]:
        """The sessions subscribed to ``topic``."""
        return self._by_topic.get(topic, {}).values()

    def subscribed_topics(self) -> Collection[str]:
        """Every topic that someone is subscribed to."""
        return self._by_topic.keys()

    def wanted_symbols(self) -> Collection[str] | None:
        """The symbols whose ticks someone gets, None for all."""
        return None if ALL in self._by_topic else self._by_symbol.keys()

    # Ticks

    def send_ticks(self, batch: Batch) -> None:
        """Hand a batch of (symbol, frame) to whoever is subscribed, in order."""
        if not batch or self._frozen():
            return
        sent = []
        joined: bytes | None = None
        for session, share in self._shares(batch):
            frames = [frame for _, frame in share]
            if share is batch and joined is None:
                joined = b"".join(frames)
            if self._send(session, frames, joined if share is batch else None):
                sent.append((session.number, share))
        if self._journal is not None:
            self._record(batch, sent, self._journal)
        self._seen.changed()

    def _frozen(self) -> bool:
        return self._slow_client == "freeze" and any(session.slow for session in self.sessions.values())

    def _shares(self, batch: Batch) -> Iterator[tuple[Session, Batch]]:
        """Who gets which part: the whole batch, the batch with twins, or the symbols asked for."""
        whole = self._by_topic.get(ALL, {})
        for session in whole.values():
            twins = session.symbols if self._dialect.twins else ()
            yield session, _doubled(batch, twins) if twins else batch
        singles: dict[int, Batch] = {}
        by_symbol = self._by_symbol
        if by_symbol:
            for entry in batch:
                for number in by_symbol.get(entry[0], ()):
                    if number not in whole:
                        singles.setdefault(number, []).append(entry)
        for number, share in singles.items():
            yield self.sessions[number], share

    def _send(self, session: Session, frames: list[bytes], joined: bytes | None) -> bool:
        if not session.slow:
            return session.send("tick", frames, joined)
        session.drop_ticks(len(frames))
        if self._slow_client == "disconnect":
            session.end(ABORT)
        return False

    def _record(self, batch: Batch, sent: list[tuple[int, Batch]], journal: Callable[[JournalEntry], None]) -> None:
        # An entry of a batch is one object in every share: its id tells equal ticks apart.
        receivers: dict[int, list[int]] = {}
        for number, share in sent:
            for entry in share:
                receivers.setdefault(id(entry), []).append(number)
        for entry in batch:
            if id(entry) in receivers:
                symbol, frame = entry
                journal(JournalEntry("tick", _TICKER + symbol, payload_of(frame), tuple(receivers[id(entry)])))

    # All other events

    def send_candle(self, topic: str, payload: bytes) -> None:
        """Hand a candle to the subscribers of its topic."""
        self._send_event("candle", topic, payload, self.subscribers(topic))

    def send_private(self, kind: str, topic: str, account: str, payload: bytes) -> bool:
        """Hand an order or a portfolio to the connections of its account, as the dialect has it.

        Returns:
            Whether there was one.
        """
        chosen = self.sessions.values() if self._dialect.private_unasked else self.subscribers(topic)
        return self._send_event(kind, topic, payload, [session for session in chosen if session.account == account])

    def _send_event(self, kind: str, topic: str, payload: bytes, chosen: Iterable[Session]) -> bool:
        frame = text_frame(payload)
        got = tuple([session.number for session in chosen if session.send(kind, [frame])])
        if got and self._journal is not None:
            self._journal(JournalEntry(kind, topic, payload, got))
        self._seen.changed()
        return bool(got)

    def send_raw(self, data: bytes, *, binary: bool, chosen: Iterable[Session]) -> None:
        """Hand any bytes to the chosen sessions."""
        got = tuple([session.number for session in chosen if session.send_raw(data, binary=binary)])
        if got and self._journal is not None:
            self._journal(JournalEntry("pushed", "", data, got))
        self._seen.changed()


def _doubled(batch: Batch, symbols: Collection[str]) -> Batch:
    return [entry for entry in batch for _ in range(2 if entry[0] in symbols else 1)]


def _discard(index: dict[str, dict[int, Session]], name: str, session: Session) -> None:
    found = index.get(name)
    if found is not None:
        found.pop(session.number, None)
        if not found:
            del index[name]
