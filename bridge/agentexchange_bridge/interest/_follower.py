"""Keeps an `InterestTable` in line with Redis, over two connections of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agentexchange._backoff import backoff
from agentexchange.redis import LinkClosedError, RedisLinkError, ReplyError, RespStream, StreamOptions, pack

from ._read import find_accounts, find_clients, read_clients
from ._table import InterestLimits, InterestTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from structlog.typing import FilteringBoundLogger

    from agentexchange._urls import RedisUrl
    from agentexchange_schemas import Layout, Topic

    from ._stats import InterestStats

__all__ = ["FollowerOptions", "InterestFollower"]

_MIB: Final = 1024 * 1024
_STREAM: Final = StreamOptions(reply_timeout_s=5.0, idle_probe_s=5.0, max_reply_bytes=4 * _MIB)
_HEALTHY_AFTER_S: Final = 10.0
_FORGET_ACCOUNT_S: Final = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerOptions:
    """Times and limits; the defaults are right outside tests.

    Attributes:
        grace_s: how long a topic stays wanted after the last client that wanted it.
        limits: of what is remembered.
        tick_s: how often it is looked who has not renewed.
        gather_s: pause after a read, so that changes gather.
        batch: clients of one read.
        note_every_s: how often it is noted which accounts have clients.
        clock: monotonic seconds. wall: seconds since the Unix epoch.
    """

    grace_s: float = 30.0
    limits: InterestLimits = field(default_factory=InterestLimits)
    tick_s: float = 1.0
    gather_s: float = 0.02
    batch: int = 100
    note_every_s: float = 600.0
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class InterestFollower:
    """Tells which market topics clients want, whenever that changes. While Redis is away the last that was known stays.

    Args:
        url: Redis.
        name: of the connections.
        layout: the names.
        accounts: account scopes to look at whenever it connects, beside those that had clients before.
        on_change: called on the loop with all wanted market topics.
        log: where to say what is wrong, once.
        stats: numbers to keep up to date.
    """

    def __init__(
        self,
        url: RedisUrl,
        *,
        name: str,
        layout: Layout,
        accounts: Callable[[], Iterable[str]],
        on_change: Callable[[frozenset[Topic]], None],
        log: FilteringBoundLogger,
        stats: InterestStats,
        options: FollowerOptions | None = None,
    ) -> None:
        self._url = url
        self._name = name
        self._layout = layout
        self._accounts = accounts
        self._on_change = on_change
        self._log = log
        self._options = options or FollowerOptions()
        self._table = InterestTable(
            grace_s=self._options.grace_s, limits=self._options.limits, stats=stats, tell=self._tell_fault
        )
        self._given: frozenset[Topic] = frozenset()
        self._woken = asyncio.Event()
        self._subscribed: asyncio.Future[None] | None = None
        self._noted: set[str] = set()
        self._note_at = 0.0
        self._suspect: str | None = None
        self._is_failing = self._has_told_refusal = False

    async def run(self) -> None:
        """Follow until cancelled, and connect again for as long as it takes."""
        delays = self._new_delays()
        while True:
            began = self._options.clock()
            try:
                async with contextlib.AsyncExitStack() as streams:
                    await self._follow(*await self._connect(streams))
            except RedisLinkError as fault:
                self._failed(fault)
            if self._options.clock() - began > _HEALTHY_AFTER_S:
                delays = self._new_delays()
            await asyncio.sleep(next(delays))

    # One connection's life

    async def _connect(self, streams: contextlib.AsyncExitStack) -> tuple[RespStream, RespStream]:
        """Both connections, with everything read that was there before the first message comes."""
        control = await RespStream.connect(self._url, name=self._name, on_replies=self._on_replies, options=_STREAM)
        streams.callback(control.close)
        commands = await RespStream.connect(self._url, name=self._name, options=_STREAM)
        streams.callback(commands.close)
        await self._subscribe(control)
        self._table.resumed(self._options.clock())
        await self._read_all(commands)
        self._give()
        self._is_failing = False
        stats = self._table.stats
        self._log.info("interest is followed", clients=stats.clients, topics=len(self._given))
        return control, commands

    async def _subscribe(self, control: RespStream) -> None:
        self._subscribed = asyncio.get_running_loop().create_future()
        control.write(pack("SUBSCRIBE", self._layout.control))
        try:
            async with asyncio.timeout(_STREAM.reply_timeout_s):
                await self._subscribed
        except TimeoutError:
            raise LinkClosedError("the subscription was not confirmed in time") from None

    async def _follow(self, control: RespStream, commands: RespStream) -> None:
        while True:
            await self._until_woken()
            for stream in (control, commands):
                if stream.is_closed:
                    raise await stream.wait_closed()
            await self._read(commands)
            self._table.expire(self._options.clock())
            self._give()
            await self._note_accounts(commands)
            await asyncio.sleep(self._options.gather_s)

    async def _until_woken(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.tick_s):
                await self._woken.wait()
        self._woken.clear()

    def _on_replies(self, replies: list[Any]) -> None:
        """From the control connection; the hot path of a thousand clients that renew."""
        now, heard = self._options.clock(), self._table.heard
        for reply in replies:
            match reply:
                case [b"message", _, bytes(message)]:
                    heard(message, now)
                case ReplyError() | [b"subscribe", *_]:
                    self._answered(reply)
        if self._table.has_unread:
            self._woken.set()

    def _answered(self, reply: Any) -> None:
        if self._subscribed is None or self._subscribed.done():
            return
        if isinstance(reply, ReplyError):
            self._subscribed.set_exception(reply)
        else:
            self._subscribed.set_result(None)

    # Reading

    async def _read_all(self, commands: RespStream) -> None:
        """Every client of every account that is known.

        A set of clients so large that the connection ends over it is passed over the next time.
        """
        skipped, self._suspect = self._suspect, None
        limits = self._options.limits
        before = await find_accounts(commands, self._layout, limits.accounts)
        for account in dict.fromkeys((*self._accounts(), *before, *self._table.accounts)):
            if account == skipped:
                continue
            self._suspect = account
            clients = await find_clients(commands, self._layout, account, limits.clients)
            self._suspect = None
            self._table.look_at(clients)
            await self._read(commands)
        self._suspect = None
        await self._note_accounts(commands)

    async def _read(self, commands: RespStream) -> None:
        while clients := self._table.next_reads(self._options.batch):
            for found in await read_clients(commands, self._layout, clients):
                self._table.took(found, self._options.clock())

    async def _note_accounts(self, commands: RespStream) -> None:
        """For workers that start later, and for ``agentexchange interest``: nobody has to search for keys."""
        accounts, now = set(self._table.accounts), self._options.clock()
        if accounts <= self._noted and now < self._note_at:
            return
        self._noted, self._note_at = accounts, now + self._options.note_every_s
        wall = int(self._options.wall())
        packed = [pack("ZREMRANGEBYSCORE", self._layout.interests, "-inf", wall - _FORGET_ACCOUNT_S)]
        if accounts:
            scored = [part for account in sorted(accounts) for part in (wall, account)]
            packed.append(pack("ZADD", self._layout.interests, *scored))
        for reply in await commands.send(b"".join(packed), replies=len(packed)):
            if isinstance(reply, ReplyError) and not self._has_told_refusal:
                self._has_told_refusal = True
                self._log.warning("it cannot be noted which accounts have clients", error=str(reply))

    # Telling

    def _give(self) -> None:
        wanted = self._table.wanted
        if wanted != self._given:
            self._given = wanted
            self._on_change(wanted)

    def _tell_fault(self, kind: str, text: str) -> None:
        self._log.warning("interest that is let go; more of the kind is only counted", kind=kind, error=text)

    def _failed(self, fault: RedisLinkError) -> None:
        say = self._log.debug if self._is_failing else self._log.warning
        say("interest cannot be followed; what was wanted last stays subscribed", error=str(fault))
        self._is_failing = True

    def _new_delays(self) -> Iterator[float]:
        return backoff(first=0.25, cap=5.0)
