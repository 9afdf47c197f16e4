"""What a worker is told: plain values, checked where they are read (settings) and where they are used."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange.candles import CandleSource
from agentexchange_schemas import Layout, Topic

from .accounts import Account, checked_accounts
from .batch import Retention
from .outbox import OutboxLimits

if TYPE_CHECKING:
    import ssl

    from agentexchange._urls import RedisUrl, UpstreamUrl

    from .rest import RestUrl

__all__ = ["WorkerConfig", "new_worker_id"]

_is_worker_id = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII).fullmatch
_MAX_HOST: Final = 32


def new_worker_id() -> str:
    """A name of this process that no other has: ``<host>-<pid>-<random>``."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:_MAX_HOST] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def _market_retention() -> Retention:
    return Retention(log_max_age_s=600.0, log_max_len=1_000_000)


def _account_retention() -> Retention:
    return Retention(log_max_age_s=7 * 86_400.0, log_max_len=100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """A bridge worker.

    Attributes:
        upstream_url: the platform's endpoint.
        accounts: its keys, each with a name. Market data comes with the first one, and with another where that is
            refused.
        redis_url: where to write.
        topics: market topics to subscribe; private ones follow ``account``.
        candles: where candles come from: upstream, ticks, or upstream with ticks where it pushes none.
        account: whether to serve the accounts' orders and portfolio, each in a scope of its own.
        prefix: what every name in Redis begins with.
        partitions: number of market scopes; every worker and client of one prefix must agree.
        worker_id: 1 to 64 of ``A-Z a-z 0-9 . _ -``, unique per process; None makes one.
        max_sessions: sessions for market data at most; one takes 10 topics.
        ticker_all_from: with more symbols than this, ``ticker:all`` is subscribed instead, and so it is where they do
            not fit into ``max_sessions``; None: never.
        follow_interest: whether to subscribe, beside ``topics``, what clients want.
        interest_grace_s: how long a topic stays subscribed after the last client that wanted it.
        rest_url: where the platform is asked what happened in a blind span of an account; None: it is not asked.
        ssl_context: for wss:// and https://; None verifies against the system's certificates.
        keep_frames: whether envelopes have the frames in which upstream sent their events.
        tick_stale_after_s: how long ``ticker:all`` may be without any tick before the session is replaced.
        lease_ttl_s: how long a lease lives without a heartbeat.
        beat_s: from one heartbeat to the next.
        standby_s: from one try for a lease to the next.
        drain_s: how long a stopping worker may take to write what it holds.
        redis_backoff_cap_s: longest wait between tries to reach Redis.
        sharded: SPUBLISH instead of PUBLISH; only inside Redis Cluster.
        exit_on_auth_failure: stop when upstream keeps refusing the key, instead of trying on slowly.
        market_retention: of each market scope's logs.
        account_retention: of the account scope's log.
        limits: bounds of buffers and batches; market scopes share the buffer's, an account scope has its own.

    Raises:
        ValueError: a worker id, prefix, partition count or time outside its range, a private topic, or accounts that
            are none.
    """

    upstream_url: UpstreamUrl
    accounts: tuple[Account, ...]
    redis_url: RedisUrl
    topics: tuple[Topic, ...] = (Topic.ticker("all"),)
    candles: CandleSource = CandleSource.AUTO
    account: bool = True
    prefix: str = "ax"
    partitions: int = 1
    worker_id: str | None = None
    max_sessions: int = 10
    ticker_all_from: int | None = 100
    follow_interest: bool = True
    interest_grace_s: float = 30.0
    rest_url: RestUrl | None = None
    ssl_context: ssl.SSLContext | None = None
    keep_frames: bool = False
    tick_stale_after_s: float = 10.0
    lease_ttl_s: float = 3.0
    beat_s: float = 1.0
    standby_s: float = 0.25
    drain_s: float = 5.0
    redis_backoff_cap_s: float = 1.0
    sharded: bool = False
    exit_on_auth_failure: bool = False
    market_retention: Retention = field(default_factory=_market_retention)
    account_retention: Retention = field(default_factory=_account_retention)
    limits: OutboxLimits = field(default_factory=OutboxLimits)

    def __post_init__(self) -> None:
        if self.worker_id is not None and not _is_worker_id(self.worker_id):
            raise ValueError("worker_id is not valid: use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
        if not 0 < 2 * self.beat_s < self.lease_ttl_s:
            raise ValueError("lease_ttl_s must be more than twice beat_s, and both above 0")
        if self.max_sessions < 1:
            raise ValueError("max_sessions must be 1 or more")
        if any(topic.is_private for topic in self.topics):
            raise ValueError("topics are market topics: orders and portfolio come with account=True")
        if not (self.topics or self.follow_interest or self.account):
            raise ValueError("nothing to do: give topics, follow_interest=True or account=True")
        checked_accounts(self.accounts)
        Layout(self.prefix, self.partitions)
