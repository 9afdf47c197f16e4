"""Who wants what, as far as this worker knows. Pure: the time comes with each call, in monotonic seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Interest, InterestChange, InterestError
from agentexchange_schemas.interest import LEAVES

from ._found import Client
from ._stats import InterestStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentexchange_schemas import Topic

    from ._found import Found

__all__ = ["InterestLimits", "InterestTable"]

_NOTHING: Final[frozenset[Topic]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class InterestLimits:
    """Bounds of what is remembered; what lies beyond is counted and looked at again when room may be free.

    Attributes:
        accounts: with clients.
        clients: of one account.
        topics: wanted market topics, of all clients together.
        unread: clients that wait to be read.
    """

    accounts: int = 1_000
    clients: int = 5_000
    topics: int = 10_000
    unread: int = 20_000


@dataclass(slots=True)
class _Known:
    """A client, with what keeps it: the market topics that were taken, how long a renewal lasts, and until when."""

    topics: frozenset[Topic]
    ttl_s: float
    until: float
    message: bytes


class InterestTable:
    """Takes messages and reads, and says what is to be read and which market topics are wanted.

    A message is believed where it repeats what was read before, as renewals do; else its client's hash is read. So one
    that is forged costs a read, and takes nothing from anybody.

    Args:
        grace_s: how long a topic stays wanted after the last client that wanted it.
        tell: called with the kind and a sentence when the first fault of a kind is met.
    """

    def __init__(
        self,
        *,
        grace_s: float,
        tell: Callable[[str, str], None],
        limits: InterestLimits = InterestLimits(),
        stats: InterestStats | None = None,
    ) -> None:
        self.stats = InterestStats() if stats is None else stats
        self._grace_s = grace_s
        self._tell = tell
        self._limits = limits
        self._known: dict[Client, _Known] = {}
        self._by_message: dict[bytes, _Known] = {}
        self._per_account: Counter[str] = Counter()
        self._wants: Counter[Topic] = Counter()
        self._leaving: dict[Topic, float] = {}
        self._unread: dict[Client, None] = {}
        self._being_read: set[Client] = set()
        self._wanted: frozenset[Topic] | None = _NOTHING

    @property
    def accounts(self) -> list[str]:
        """Accounts that have clients."""
        return list(self._per_account)

    @property
    def wanted(self) -> frozenset[Topic]:
        """Every market topic that is wanted, or was until the grace time ago."""
        if self._wanted is None:
            self._wanted = frozenset(self._wants) | self._leaving.keys()
            self.stats.topics = len(self._wanted)
        return self._wanted

    @property
    def has_unread(self) -> bool:
        """Whether clients have to be read."""
        return bool(self._unread)

    # What comes in

    def heard(self, message: bytes, now: float) -> None:
        """A message on the control channel."""
        known = self._by_message.get(message)
        if known is not None:
            known.until = now + known.ttl_s
            return
        try:
            change = InterestChange.decode(message)
        except InterestError as exc:
            self._fault("message", str(exc))
            return
        client = Client(change.account, change.client)
        if client in self._known or (change.version != LEAVES and self._has_room(client)):
            self.look_at([client])

    def look_at(self, clients: Iterable[Client]) -> None:
        """These have to be read."""
        for client in clients:
            if client not in self._unread and len(self._unread) >= self._limits.unread:
                self._fault("unread", f"more than {self._limits.unread} clients wait to be read")
                return
            self._unread[client] = None
            self._being_read.discard(client)

    def next_reads(self, most: int) -> list[Client]:
        """Clients to read now; empty where there are none."""
        clients = list(islice(self._unread, most))
        for client in clients:
            del self._unread[client]
        self._being_read.update(clients)
        return clients

    def took(self, found: Found, now: float) -> None:
        """What a read has found. It is let go where the client has to be read once more anyway."""
        client = found.client
        if client not in self._being_read:
            return
        self._being_read.discard(client)
        self.stats.reads += 1
        if found.interest is not None:
            self._keep(client, found.interest, now + found.left_s, now)
            return
        if found.fault is not None:
            self._fault("hash", f"{client.account} {client.name}: {found.fault}")
        self._drop(client, now)

    def resumed(self, now: float) -> None:
        """Redis was away, and clients could not renew: each that is known has a whole life to do so."""
        self._unread.clear()
        self._being_read.clear()
        for known in self._known.values():
            known.until = max(known.until, now + known.ttl_s)

    def expire(self, now: float) -> None:
        """Forget who has not renewed, and what nobody has wanted for the grace time."""
        for client in [client for client, known in self._known.items() if known.until <= now]:
            self._drop(client, now)
        for topic in [topic for topic, until in self._leaving.items() if until <= now]:
            del self._leaving[topic]
            self._wanted = None

    # Within

    def _has_room(self, client: Client) -> bool:
        clients = self._per_account.get(client.account)
        if clients is None and len(self._per_account) >= self._limits.accounts:
            self._fault("accounts", f"more than {self._limits.accounts} accounts have clients")
            return False
        if clients is not None and clients >= self._limits.clients:
            self._fault("clients", f"{client.account} has more than {self._limits.clients} clients")
            return False
        return True

    def _keep(self, client: Client, interest: Interest, until: float, now: float) -> None:
        old = self._known.get(client)
        if old is None and not self._has_room(client):
            return
        market = frozenset(topic for topic in interest.topics if not topic.is_private)
        topics = self._taken(market)
        message = InterestChange(*client, interest.version).encode()
        known = _Known(topics, interest.ttl_ms / 1000, until, message)
        if old is None:
            self._per_account[client.account] += 1
        else:
            self._by_message.pop(old.message, None)
        self._known[client] = known
        if topics == market:  # else each renewal is looked at, until there is room
            self._by_message[message] = known
        self._change(_NOTHING if old is None else old.topics, topics, now)
        self.stats.clients = len(self._known)

    def _drop(self, client: Client, now: float) -> None:
        known = self._known.pop(client, None)
        if known is None:
            return
        self._by_message.pop(known.message, None)
        self._per_account[client.account] -= 1
        if not self._per_account[client.account]:
            del self._per_account[client.account]
        self._change(known.topics, _NOTHING, now)
        self.stats.clients = len(self._known)

    def _taken(self, topics: frozenset[Topic]) -> frozenset[Topic]:
        """Those that there is room for."""
        wants, leaving = self._wants, self._leaving
        new = [topic for topic in topics if topic not in wants and topic not in leaving]
        room = max(0, self._limits.topics - len(wants) - len(leaving))
        if len(new) <= room:
            return topics
        self._fault("topics", f"more than {self._limits.topics} market topics are wanted")
        return topics - frozenset(new[room:])

    def _change(self, old: frozenset[Topic], new: frozenset[Topic], now: float) -> None:
        for topic in new - old:
            self._wants[topic] += 1
            if self._wants[topic] == 1 and self._leaving.pop(topic, None) is None:
                self._wanted = None
        for topic in old - new:
            self._wants[topic] -= 1
            if not self._wants[topic]:
                del self._wants[topic]
                self._leaving[topic] = now + self._grace_s

    def _fault(self, kind: str, text: str) -> None:
        junk = self.stats.junk
        junk[kind] = junk.get(kind, 0) + 1
        if junk[kind] == 1:
            self._tell(kind, text)
