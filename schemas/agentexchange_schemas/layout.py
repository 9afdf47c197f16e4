"""The Redis layout: every name of a key, channel and field, as functions.

``{…}`` is a cluster hash tag: all keys of a scope live in one slot. `docs/redis-layout.md` shows the whole table.
"""

from __future__ import annotations

import hashlib
import re
from binascii import crc_hqx
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .errors import LayoutError

if TYPE_CHECKING:
    from .topics import Topic

__all__ = [
    "BATCH_FIELD",
    "LAYOUT_VERSION",
    "LOG_FIELD",
    "LOG_ID_FIELD",
    "RECEIVED_FIELD",
    "Layout",
    "account_scope",
    "checked_name",
    "count_of",
]

LAYOUT_VERSION: Final = 1
LOG_FIELD: Final = "e"
"""The one field of a log entry: the envelope."""

# Fields of a scope's seq hash beside the topics. Topics never begin with '#'.
LOG_ID_FIELD: Final = "#id"
BATCH_FIELD: Final = "#batch"
RECEIVED_FIELD: Final = "#r"

MAX_PARTITIONS: Final = 1024
MAX_KEY_BYTES: Final = 256  # of an API key
MAX_COUNT: Final = 2**53 - 1
"""The highest seq, epoch or time: Redis's scripts count in doubles."""
_COUNT_DIGITS: Final = 16

_is_prefix = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}", re.ASCII).fullmatch
_is_scope = re.compile(r"m(0|[1-9][0-9]{0,3})|a-[0-9a-f]{32}", re.ASCII).fullmatch
_is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII).fullmatch
_is_plain_order_id = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII).fullmatch


def account_scope(api_key: str) -> str:
    """The scope of an API key: ``a-`` and the first 32 hex digits of its SHA-256.

    Both ends compute it; nobody can turn it back into the key.
    """
    return f"a-{hashlib.sha256(api_key.encode()).hexdigest()[:32]}"


def checked_name(name: object, field: str) -> str:
    """The name of a group, a member, a position or a client, which becomes part of Redis keys.

    Raises:
        LayoutError: not 1 to 64 of ``A-Z a-z 0-9 . _ -``, beginning with a letter or digit; names ``field``.
    """
    if not isinstance(name, str) or not _is_name(name):
        raise LayoutError(
            f"{field} {str(name)[:40]!r} is not valid: use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit",
            field=field,
        )
    return name


def count_of(value: bytes | str | None) -> int:
    """A seq, an epoch or a time as a key or field holds it; 0 where there is none, or anything but such a number."""
    if value is None or len(value) > _COUNT_DIGITS or not value.isascii() or not value.isdigit():
        return 0
    number = int(value)
    return number if number <= MAX_COUNT else 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Names under one prefix, for one number of market partitions.

    Raises:
        LayoutError: a prefix outside ``[a-z0-9][a-z0-9_.-]{0,31}``, or partitions outside 1 to 1024.
    """

    prefix: str = "ax"
    partitions: int = 1

    def __post_init__(self) -> None:
        if not _is_prefix(self.prefix):
            raise LayoutError(
                f"prefix {self.prefix[:40]!r} is not valid: use 1 to 32 of a-z, 0-9, '_', '.' and '-'",
                field="prefix",
            )
        if not 1 <= self.partitions <= MAX_PARTITIONS:
            raise LayoutError(f"partitions {self.partitions} is not in 1..{MAX_PARTITIONS}", field="partitions")

    # Scopes

    @property
    def market_scopes(self) -> tuple[str, ...]:
        """``m0`` to ``m(N-1)``."""
        return tuple(f"m{number}" for number in range(self.partitions))

    def market_scope(self, symbol: str) -> str:
        """The partition of ``symbol``: CRC16 (XMODEM, as in Redis Cluster) modulo the partition count."""
        return f"m{crc_hqx(symbol.encode(), 0) % self.partitions}"

    def scopes_of(self, topic: Topic, account: str | None = None) -> tuple[str, ...]:
        """The scopes that carry ``topic``: several only for the wildcard.

        Raises:
            LayoutError: a private topic without an ``account`` scope.
        """
        if topic.is_private:
            if account is None:
                raise LayoutError(f"{topic} belongs to an account: give its scope", field="account")
            return (account,)
        if topic.symbol is None or topic.is_wildcard:
            return self.market_scopes
        return (self.market_scope(topic.symbol),)

    # Names of the whole installation

    @property
    def meta(self) -> str:
        """Hash: ``version``, ``partitions``."""
        return f"{self.prefix}:meta"

    @property
    def workers(self) -> str:
        """Sorted set of live workers; score = expiry, Unix seconds."""
        return f"{self.prefix}:workers"

    @property
    def control(self) -> str:
        """Channel that names the clients whose interest is new, changed or renewed: see `InterestChange`."""
        return f"{self.prefix}:control"

    @property
    def interests(self) -> str:
        """Sorted set of the account scopes that have had clients; score = last seen, Unix seconds."""
        return f"{self.prefix}:interests"

    def interest(self, account: str, client: str | None = None) -> str:
        """Sorted set of an account's clients, score = expiry in Unix seconds; or the hash of one of them."""
        name = self._checked(f"{self.prefix}:interest:{account}", account)
        return name if client is None else f"{name}:{checked_name(client, 'client')}"

    # Names of one scope

    def base(self, scope: str) -> str:
        """What every name of ``scope`` begins with, colon included; a channel is this and the topic."""
        return self._checked(f"{self.prefix}:{{{scope}}}:", scope)

    def channel(self, scope: str, topic: str) -> str:
        """Pub/sub channel of a topic (or of ``status``)."""
        return f"{self.base(scope)}{topic}"

    def latest(self, scope: str, topic: str, order_id: str | None = None) -> str:
        """String with the newest envelope of a topic; of one order, given its id.

        Without an id, ``orders`` names the set of open orders' ids.
        """
        name = f"{self.base(scope)}latest:{topic}"
        return name if order_id is None else f"{name}:{order_key(order_id)}"

    def log(self, scope: str) -> str:
        """Stream of ticks and notices, or of everything in an account scope."""
        return f"{self.base(scope)}log"

    def candle_log(self, scope: str) -> str:
        """Stream of a market scope's closed candles."""
        return f"{self.base(scope)}log:candles"

    def candle_state(self, scope: str) -> str:
        """String: what the closed candles do not tell of those under way in a market scope.

        Its owner saves it every few seconds and when it gives the lease back; the next one continues from it. The bytes
        are the builder's own, for no other reader.
        """
        return f"{self.base(scope)}candle-state"

    def lease(self, scope: str) -> str:
        """String: who writes the scope, ``<worker>/<epoch>``; expires unless renewed."""
        return f"{self.base(scope)}lease"

    def epoch(self, scope: str) -> str:
        """Counter: the fencing number of the newest lease."""
        return f"{self.base(scope)}epoch"

    def seq(self, scope: str) -> str:
        """Hash: last seq per topic, and the fields that begin with ``#``."""
        return f"{self.base(scope)}seq"

    def status(self, scope: str) -> str:
        """Hash and channel: the scope's state, notices and heartbeats."""
        return f"{self.base(scope)}status"

    # Names of one consumer group, or of one durable position, in a scope

    def group(self, scope: str, group: str) -> str:
        """String: the topics that every member of the group handles; expires when the last member has gone."""
        return f"{self.base(scope)}group:{checked_name(group, 'group')}"

    def marks(self, scope: str, group: str) -> str:
        """Hash: the highest seq per topic that was delivered to the group, and the log's name as ``#id``."""
        return f"{self.group(scope, group)}:marks"

    def retry(self, log: str, group: str) -> str:
        """Stream beside a ``log``: dead letters that only this group shall get once more."""
        return f"{log}:retry:{checked_name(group, 'group')}"

    def dead(self, scope: str, group: str) -> str:
        """Stream: the group's dead letters."""
        return f"{self.base(scope)}dead:{checked_name(group, 'group')}"

    def position(self, scope: str, name: str) -> str:
        """Hash: how far the holder of a durable position has got in the scope's logs."""
        return f"{self.base(scope)}pos:{checked_name(name, 'resume')}"

    def position_holder(self, scope: str, name: str) -> str:
        """String: who holds the position now; expires unless renewed."""
        return f"{self.position(scope, name)}:holder"

    def _checked(self, name: str, scope: str) -> str:
        if not _is_scope(scope):
            raise LayoutError(
                f"scope {scope[:40]!r} is neither m0..m{MAX_PARTITIONS - 1} nor a-<32 hex>", field="scope"
            )
        return name


def order_key(order_id: str) -> str:
    """The part of a key name that stands for an order: its id, or a hash of an id with other characters."""
    if _is_plain_order_id(order_id):
        return order_id
    return hashlib.sha256(order_id.encode()).hexdigest()[:32]
