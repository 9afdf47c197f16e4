"""The settings themselves: each field with its default, its bounds and how the command line shows it."""

from __future__ import annotations

import ssl
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Any, Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agentexchange._urls import redis_url, upstream_url
from agentexchange.candles import CandleSource
from agentexchange_bridge.batch import Retention
from agentexchange_bridge.buffer import BufferLimits
from agentexchange_bridge.config import WorkerConfig
from agentexchange_bridge.http import HttpAddress
from agentexchange_bridge.keys import KEY_VARIABLE, SECRET_VARIABLE
from agentexchange_bridge.logs import LogFormat, LogLevel  # noqa: TC001 - pydantic reads the annotations
from agentexchange_bridge.outbox import OutboxLimits
from agentexchange_schemas import ALL, Topic

from ._types import (  # noqa: TC001 - pydantic reads the annotations
    CertificateFile,
    Http,
    MarketTopics,
    ReadAccounts,
    Redis,
    Rest,
    Upstream,
)

__all__ = ["ENV_PREFIX", "SECRETS", "BridgeSettings", "flag_of"]

ENV_PREFIX: Final = "AGENTEXCHANGE_"
SECRETS: Final = frozenset({"api_key", "api_secret"})
"""The fields that come from the environment alone."""

_MIB: Final = 1024 * 1024
_BUFFER: Final = BufferLimits()


def _shown(group: str, *, flag: str | None = None, metavar: str | None = None) -> Any:
    """How the command line shows a field."""
    return {"group": group, "flag": flag, "metavar": metavar}


class BridgeSettings(BaseSettings):
    """Everything a worker is told. Build it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    upstream_url: Upstream = Field(
        default=upstream_url("ws://localhost:8000"),
        description="the platform, ws:// or wss://",
        json_schema_extra=_shown("upstream", metavar="URL"),
    )
    topics: MarketTopics = Field(
        default=(Topic.ticker(ALL),),
        description="a topic to carry; repeat the flag (with commas in the environment, a list in the file)",
        json_schema_extra=_shown("upstream", flag="--topic", metavar="TOPIC"),
    )
    candles: CandleSource = Field(
        default=CandleSource.AUTO,
        description="where candles come from: upstream's own, built from ticks, or auto: built where it pushes none",
        json_schema_extra=_shown("upstream", metavar="auto|upstream|build"),
    )
    follow_interest: bool = Field(
        default=True,
        description="also carry what shared clients want, while they run",
        json_schema_extra=_shown("upstream"),
    )
    interest_grace_s: float = Field(
        default=30.0,
        ge=0.0,
        le=86_400.0,
        description="seconds that a topic stays subscribed after the last client that wanted it",
        json_schema_extra=_shown("upstream", metavar="S"),
    )
    account: bool = Field(
        default=True,
        description="also carry orders and portfolio of each API key",
        json_schema_extra=_shown("upstream"),
    )
    accounts: ReadAccounts = Field(
        default=(), description="every key with its name: set by load_settings", json_schema_extra=_shown("")
    )
    api_key: SecretStr | None = Field(
        default=None, description="the platform's key: environment only", json_schema_extra=_shown("")
    )
    api_key_file: Path | None = Field(
        default=None,
        description=f"file that holds the API key (or set {KEY_VARIABLE})",
        json_schema_extra=_shown("upstream", metavar="FILE"),
    )
    rest_url: Rest = Field(
        default=None,
        description="the platform's REST, https:// or http://, asked for orders and portfolio after a blind span",
        json_schema_extra=_shown("upstream", metavar="URL"),
    )
    tls_ca_file: CertificateFile = Field(
        default=None,
        description="authorities to trust for wss:// and https://, in PEM, instead of the system's",
        json_schema_extra=_shown("upstream", metavar="FILE"),
    )
    api_secret: SecretStr | None = Field(
        default=None, description="the key's secret: environment only", json_schema_extra=_shown("")
    )
    api_secret_file: Path | None = Field(
        default=None,
        description=f"file that holds the key's secret, where REST wants one (or set {SECRET_VARIABLE})",
        json_schema_extra=_shown("upstream", metavar="FILE"),
    )
    exit_on_auth_failure: bool = Field(
        default=False,
        description="end with exit code 1 when the platform refuses the key, instead of trying again slowly",
        json_schema_extra=_shown("upstream"),
    )
    max_sessions: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="sessions with the platform for market data at most; one takes 10 topics",
        json_schema_extra=_shown("upstream", metavar="N"),
    )
    ticker_all_from: int = Field(
        default=100,
        ge=0,
        description="with more symbols than this (or than fit), ticker:all is subscribed instead; 0: never",
        json_schema_extra=_shown("upstream", metavar="N"),
    )
    tick_stale_after_s: float = Field(
        default=10.0,
        ge=1.0,
        le=3600.0,
        description="seconds without any tick after which ticker:all is stale and its session is replaced",
        json_schema_extra=_shown("upstream", metavar="S"),
    )
    redis_url: Redis = Field(
        default=redis_url("redis://localhost:6379/0"),
        description="redis://, rediss:// or unix://, with ?prefix= for another key prefix than 'ax'",
        json_schema_extra=_shown("redis", metavar="URL"),
    )
    partitions: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="partitions of market data; another number is a new layout",
        json_schema_extra=_shown("redis", metavar="N"),
    )
    worker_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="name of this worker in leases; default: host, process id and a random part",
        json_schema_extra=_shown("redis", metavar="NAME"),
    )
    lease_ttl_s: float = Field(
        default=3.0,
        gt=2.0,
        le=60.0,
        description="seconds after which a dead worker's lease is free; a takeover takes this long and a little more",
        json_schema_extra=_shown("redis", metavar="S"),
    )
    tick_log_age_s: float = Field(
        default=600.0,
        ge=1.0,
        description="seconds that ticks stay in the log",
        json_schema_extra=_shown("bounds", metavar="S"),
    )
    tick_log_entries: int = Field(
        default=1_000_000,
        ge=1000,
        description="most ticks that stay in a partition's log",
        json_schema_extra=_shown("bounds", metavar="N"),
    )
    account_log_age_s: float = Field(
        default=604_800.0,
        ge=1.0,
        description="seconds that orders and portfolios stay in the log",
        json_schema_extra=_shown("bounds", metavar="S"),
    )
    account_log_entries: int = Field(
        default=100_000,
        ge=1000,
        description="most orders and portfolios that stay in the log",
        json_schema_extra=_shown("bounds", metavar="N"),
    )
    keep_frames: bool = Field(
        default=False,
        description="keep each event's frame as the platform sent it: a tick takes 359 bytes of Redis instead of 194",
        json_schema_extra=_shown("bounds"),
    )
    buffer_ticks: int = Field(
        default=_BUFFER.ticks,
        ge=1000,
        le=10_000_000,
        description="ticks held while Redis is away, before they are conflated to the newest per topic",
        json_schema_extra=_shown("bounds", metavar="N"),
    )
    buffer_mib: int = Field(
        default=_BUFFER.tick_bytes // _MIB,
        ge=1,
        le=65_536,
        description="memory for these ticks, MiB",
        json_schema_extra=_shown("bounds", metavar="N"),
    )
    drain_s: float = Field(
        default=5.0,
        ge=0.0,
        le=300.0,
        description="seconds that a stopping worker may take to write what it holds",
        json_schema_extra=_shown("operation", metavar="S"),
    )
    http: Http = Field(
        default=HttpAddress("127.0.0.1", 9464),
        description="where /healthz, /readyz and /metrics are served; port 0 takes a free one, 'off' none",
        json_schema_extra=_shown("operation", metavar="HOST:PORT"),
    )
    log_level: LogLevel = Field(
        default="info", description="least severe level that is logged", json_schema_extra=_shown("operation")
    )
    log_format: LogFormat = Field(
        default="auto",
        description="auto: human on a terminal, JSON otherwise",
        json_schema_extra=_shown("operation"),
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings names the parameters
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment; the file is merged below them by `load_settings`, which knows its name."""
        return init_settings, env_settings

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What no log line may show."""
        password = self.redis_url.password
        known = [*(secret for account in self.accounts for secret in (account.key, account.secret)), password]
        return tuple(secret for secret in known if secret is not None)

    def worker_config(self) -> WorkerConfig:
        """What the worker is built from."""
        market = Retention(log_max_age_s=self.tick_log_age_s, log_max_len=self.tick_log_entries)
        account = Retention(log_max_age_s=self.account_log_age_s, log_max_len=self.account_log_entries)
        buffer = BufferLimits(ticks=self.buffer_ticks, tick_bytes=self.buffer_mib * _MIB)
        return WorkerConfig(
            upstream_url=self.upstream_url,
            accounts=self.accounts,
            redis_url=self.redis_url,
            topics=self.topics,
            candles=self.candles,
            follow_interest=self.follow_interest,
            interest_grace_s=self.interest_grace_s,
            account=self.account,
            rest_url=self.rest_url,
            ssl_context=ssl.create_default_context(cafile=self.tls_ca_file) if self.tls_ca_file else None,
            prefix=self.redis_url.prefix,
            partitions=self.partitions,
            worker_id=self.worker_id,
            max_sessions=self.max_sessions,
            ticker_all_from=self.ticker_all_from or None,
            tick_stale_after_s=self.tick_stale_after_s,
            keep_frames=self.keep_frames,
            lease_ttl_s=self.lease_ttl_s,
            drain_s=self.drain_s,
            exit_on_auth_failure=self.exit_on_auth_failure,
            market_retention=market,
            account_retention=account,
            limits=OutboxLimits(buffer=buffer),
        )


def flag_of(name: str) -> str:
    """The flag of a field, such as ``--redis-url``."""
    extra = BridgeSettings.model_fields[name].json_schema_extra
    flag = extra.get("flag") if isinstance(extra, dict) else None
    return str(flag) if flag else f"--{name.replace('_', '-')}"
