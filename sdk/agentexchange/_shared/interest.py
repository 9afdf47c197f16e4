"""A client's interest: what its handlers are for, registered in Redis while it lives, so that the bridge carries it.

It shares the client's command connection. Whatever goes wrong with it, events go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from agentexchange.redis import RedisLinkError, ReplyError, pack
from agentexchange_schemas import Interest, InterestChange
from agentexchange_schemas.interest import LEAVES, MAX_INTEREST_TOPICS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agentexchange._names import Identity
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout, Topic

    from .options import SharedOptions

__all__ = ["InterestKeeper"]

_RENEWALS: Final = 3  # in the time after which a client that died is forgotten
_JITTER: Final = 0.2  # of the time between two renewals
_INDEX_TTL: Final = 4  # times a client's own: how long the set of clients outlives its last one
_PRUNE_AFTER_S: Final = 3600  # more than clocks of two hosts differ
_GATHER_S: Final = 0.05  # changes that come one by one are written together, the first at once
_LEAVE_S: Final = 1.0

_log = logging.getLogger("agentexchange.shared")


class InterestKeeper:
    """Built once for a client's run; `keep` is called with each connection.

    Args:
        layout: the names; its partitions do not matter.
        account: the scope that the client belongs to.
        identity: who it is.
        wanted: the topics; the caller changes the set, and calls `changed`.
        options: times.

    Attributes:
        refused: writes that Redis refused.
    """

    def __init__(
        self, layout: Layout, account: str, identity: Identity, wanted: AbstractSet[Topic], options: SharedOptions
    ) -> None:
        self._account = account
        self._identity = identity
        self._wanted = wanted
        self._options = options
        self._ttl_ms = round(options.interest_ttl_s * 1000)
        self._index, self._hash = layout.interest(account), layout.interest(account, identity.unique)
        self._channel = layout.control
        self._since_us = round(options.now().timestamp() * 1_000_000)
        self._topics: frozenset[Topic] = frozenset()
        self._version = 0
        self._is_stored = False
        self._stream: RespStream | None = None
        self._has_connected = False
        self._has_told_refusal = self._has_told_limit = False
        self._changed = asyncio.Event()
        self.refused = 0

    def changed(self) -> None:
        """The wanted topics are others now."""
        self._changed.set()

    async def keep(self, stream: RespStream) -> None:
        """Register at once, renew, and write each change, until cancelled.

        After a lost connection it waits for a moment at random: a restarted Redis is not written to by all at once.

        Raises:
            LinkClosedError: the connection is gone.
        """
        self._stream, self._is_stored = stream, False
        if self._has_connected:
            await self._options.sleep(self._options.interest_spread_s * self._options.random())
        self._has_connected = True
        while True:
            self._changed.clear()
            await self._write(stream)
            await asyncio.sleep(_GATHER_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._changed.wait()

    async def leave(self) -> None:
        """The client goes: what it wants is wanted no more. Without a connection it is forgotten by and by."""
        stream, self._stream = self._stream, None
        if stream is None or stream.is_closed or not self._is_stored:
            return
        packed = pack("DEL", self._hash) + pack("ZREM", self._index, self._identity.unique) + self._tell(LEAVES)
        with contextlib.suppress(TimeoutError, RedisLinkError):
            async with asyncio.timeout(_LEAVE_S):
                await stream.send(packed, replies=3)

    async def _write(self, stream: RespStream) -> None:
        """Renew what Redis has, or write it whole: once more where it turns out to have forgotten."""
        topics = self._registrable()
        if topics != self._topics or not self._version:
            self._topics, self._version, self._is_stored = topics, self._version + 1, False
        if self._is_stored:
            replies = self._checked(await stream.send(self._renewal(), replies=4))
            if replies is None:
                return
            self._is_stored = replies[-1] == 1
        if not self._is_stored:
            self._is_stored = self._checked(await stream.send(self._registration(), replies=8)) is not None

    def _registration(self) -> bytes:
        """All of it, in one step: no hash is left behind without an end to its life."""
        now = self._options.now().timestamp()
        fields = [part for pair in self._interest().to_fields().items() for part in pair]
        return b"".join((
            pack("MULTI"),
            pack("ZREMRANGEBYSCORE", self._index, "-inf", int(now) - _PRUNE_AFTER_S),
            pack("HSET", self._hash, *fields),
            self._life(now),
            pack("EXEC"),
        ))  # fmt: skip

    def _renewal(self) -> bytes:
        return self._life(self._options.now().timestamp())

    def _life(self, now: float) -> bytes:
        """The end of both lives, told to the bridge; the last reply is whether the hash was there."""
        return b"".join((
            pack("ZADD", self._index, f"{now + self._ttl_ms / 1000:.3f}", self._identity.unique),
            pack("PEXPIRE", self._index, _INDEX_TTL * self._ttl_ms),
            self._tell(self._version),
            pack("PEXPIRE", self._hash, self._ttl_ms),
        ))  # fmt: skip

    def _tell(self, version: int) -> bytes:
        return pack("PUBLISH", self._channel, InterestChange(self._account, self._identity.unique, version).encode())

    def _interest(self) -> Interest:
        who = self._identity
        return Interest(who.name, who.host, who.pid, self._topics, self._since_us, self._ttl_ms, self._version)

    def _registrable(self) -> frozenset[Topic]:
        if len(self._wanted) <= MAX_INTEREST_TOPICS:
            return frozenset(self._wanted)
        if not self._has_told_limit:
            self._has_told_limit = True
            _log.warning(
                "this client wants %d topics, and registers %d: the bridge must be set up to carry the others",
                len(self._wanted), MAX_INTEREST_TOPICS,
            )  # fmt: skip
        return frozenset(sorted(self._wanted, key=str)[:MAX_INTEREST_TOPICS])

    def _checked(self, replies: list[Any]) -> list[Any] | None:
        """The replies, or None where one is a refusal: counted, and told once."""
        refusals = [reply for reply in replies if isinstance(reply, ReplyError)]
        if isinstance(replies[-1], list):  # those of a transaction
            refusals += [reply for reply in replies[-1] if isinstance(reply, ReplyError)]
        if not refusals:
            return replies
        self.refused += 1
        if not self._has_told_refusal:
            self._has_told_refusal = True
            _log.warning(
                "Redis refuses to register what this client wants, so the bridge may not carry it (%s); events go on, "
                "and it is tried again. NOPERM: ask the operator for the rules that 'agentexchange acl' prints",
                refusals[0],
            )
        return None

    def _pause_s(self) -> float:
        """Until the next renewal; shortened at random, so that clients that began together part."""
        return self._options.interest_ttl_s / _RENEWALS * (1 - _JITTER * self._options.random())
