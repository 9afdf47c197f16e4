"""Settings of the bridge: flags before environment before file before default, read and checked in this one place.

Every field is at once a flag (``--redis-url``), a variable (``AGENTEXCHANGE_REDIS_URL``) and a key of
``bridge.toml`` (``redis_url``). The exceptions: the API key and its secret, which are never flags and never in that
file, and further accounts, which are ``[[account]]`` tables of that file.
"""

from __future__ import annotations

import os
import ssl
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from agentexchange._urls import RedisUrl, UpstreamUrl, redis_url, upstream_url
from agentexchange.candles import CandleSource
from agentexchange_schemas import ALL, Topic

from .accounts import DEFAULT_ACCOUNT, Account, checked_accounts
from .batch import Retention
from .buffer import BufferLimits
from .config import WorkerConfig
from .http import HttpAddress
from .keys import (
    KEY_VARIABLE,
    SECRET_VARIABLE,
    find_api_key,
    find_api_secret,
    read_key_file,
    read_key_variable,
)
from .logs import LogFormat, LogLevel  # noqa: TC001 - pydantic reads the annotations
from .outbox import OutboxLimits
from .rest import RestUrl, rest_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENV_PREFIX", "BridgeSettings", "SettingsError", "flag_of", "load_settings"]

ENV_PREFIX: Final = "AGENTEXCHANGE_"
MAX_FILE_BYTES: Final = 64 * 1024
OFF: Final = "off"

_MIB: Final = 1024 * 1024
_BUFFER: Final = BufferLimits()
_VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_SECRETS: Final = frozenset({"api_key", "api_secret"})


class SettingsError(ValueError):
    """A setting that is missing, unknown or wrong: one line that names it, where it came from, and the fix."""


def _topics(value: object) -> object:
    """From the environment: a list with commas."""
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        raise ValueError("must be a list of topics, such as ['ticker:all']")  # noqa: TRY004 - pydantic reports ValueErrors
    topics = [text if isinstance(text, Topic) else Topic.parse(text) for text in texts if text != ""]
    if any(topic.is_private for topic in topics):
        raise ValueError("orders and portfolio are not listed here: they come with the setting 'account'")
    return tuple(dict.fromkeys(topics))


def _http(value: object) -> HttpAddress | None:
    if value is None or isinstance(value, HttpAddress):
        return value
    return None if str(value).lower() == OFF else HttpAddress.parse(str(value))


def _upstream(value: Any) -> UpstreamUrl:
    return value if isinstance(value, UpstreamUrl) else upstream_url(value)


def _redis(value: Any) -> RedisUrl:
    return value if isinstance(value, RedisUrl) else redis_url(value)


def _rest(value: Any) -> RestUrl | None:
    return value if value is None or isinstance(value, RestUrl) else rest_url(str(value))


def _certificates(value: Any) -> Path | None:
    if value is None:
        return None
    path = Path(value)
    try:
        ssl.create_default_context(cafile=path)
    except OSError as exc:  # ssl.SSLError is one, too
        raise ValueError(f"holds no certificates in PEM that can be read ({exc.strerror or exc})") from None
    return path


def _read_already(value: Any) -> tuple[Account, ...]:
    if not isinstance(value, tuple):
        raise ValueError("accounts are [[account]] tables of the --config file")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


class AccountTable(BaseModel):
    """One ``[[account]]`` of the file: a name, and where its key is; its secret too, if REST wants one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    key_file: Path | None = None
    key_env: str | None = Field(default=None, pattern=_VARIABLE)
    secret_file: Path | None = None
    secret_env: str | None = Field(default=None, pattern=_VARIABLE)

    def read(self) -> Account:
        """Read its key, and its secret.

        Raises:
            ValueError: not exactly one of ``key_file`` and ``key_env``, or both of ``secret_file`` and ``secret_env``;
                or there is no key or secret where one is said to be.
        """
        key = _only_one("key", self.key_file, self.key_env)
        if key is None:
            raise ValueError("give either key_file or key_env")
        return Account(self.name, key, _only_one("secret", self.secret_file, self.secret_env))


def _only_one(noun: str, file: Path | None, variable: str | None) -> SecretStr | None:
    if file is not None and variable is not None:
        raise ValueError(f"give either {noun}_file or {noun}_env")
    if variable is not None:
        return read_key_variable(variable)
    return None if file is None else read_key_file(file)


def _group(name: str, *, flag: str | None = None, metavar: str | None = None) -> Any:
    """How the command line shows a field."""
    return {"group": name, "flag": flag, "metavar": metavar}


class BridgeSettings(BaseSettings):
    """Everything a worker is told. Build it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    upstream_url: Annotated[UpstreamUrl, NoDecode, PlainValidator(_upstream)] = Field(
        default=upstream_url("ws://localhost:8000"),
        description="the platform, ws:// or wss://",
        json_schema_extra=_group("upstream", metavar="URL"),
    )
    topics: Annotated[tuple[Topic, ...], NoDecode, BeforeValidator(_topics)] = Field(
        default=(Topic.ticker(ALL),),
        description="a topic to carry; repeat the flag (with commas in the environment, a list in the file)",
        json_schema_extra=_group("upstream", flag="--topic", metavar="TOPIC"),
    )
    candles: CandleSource = Field(
        default=CandleSource.AUTO,
        description="where candles come from: upstream's own, built from ticks, or auto: built where it pushes none",
        json_schema_extra=_group("upstream", metavar="auto|upstream|build"),
    )
    follow_interest: bool = Field(
        default=True,
        description="also carry what shared clients want, while they run",
        json_schema_extra=_group("upstream"),
    )
    interest_grace_s: float = Field(
        default=30.0,
        ge=0.0,
        le=86_400.0,
        description="seconds that a topic stays subscribed after the last client that wanted it",
        json_schema_extra=_group("upstream", metavar="S"),
    )
    account: bool = Field(
        default=True,
        description="also carry orders and portfolio of each API key",
        json_schema_extra=_group("upstream"),
    )
    accounts: Annotated[tuple[Account, ...], NoDecode, PlainValidator(_read_already)] = Field(
        default=(), description="every key with its name: set by load_settings", json_schema_extra=_group("")
    )
    api_key: SecretStr | None = Field(
        default=None, description="the platform's key: environment only", json_schema_extra=_group("")
    )
    api_key_file: Path | None = Field(
        default=None,
        description=f"file that holds the API key (or set {KEY_VARIABLE})",
        json_schema_extra=_group("upstream", metavar="FILE"),
    )
    rest_url: Annotated[RestUrl | None, NoDecode, PlainValidator(_rest)] = Field(
        default=None,
        description="the platform's REST, https:// or http://, asked for orders and portfolio after a blind span",
        json_schema_extra=_group("upstream", metavar="URL"),
    )
    tls_ca_file: Annotated[Path | None, PlainValidator(_certificates)] = Field(
        default=None,
        description="authorities to trust for wss:// and https://, in PEM, instead of the system's",
        json_schema_extra=_group("upstream", metavar="FILE"),
    )
    api_secret: SecretStr | None = Field(
        default=None, description="the key's secret: environment only", json_schema_extra=_group("")
    )
    api_secret_file: Path | None = Field(
        default=None,
        description=f"file that holds the key's secret, where REST wants one (or set {SECRET_VARIABLE})",
        json_schema_extra=_group("upstream", metavar="FILE"),
    )
    exit_on_auth_failure: bool = Field(
        default=False,
        description="end with exit code 1 when the platform refuses the key, instead of trying again slowly",
        json_schema_extra=_group("upstream"),
    )
    max_sessions: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="sessions with the platform for market data at most; one takes 10 topics",
        json_schema_extra=_group("upstream", metavar="N"),
    )
    ticker_all_from: int = Field(
        default=100,
        ge=0,
        description="with more symbols than this (or than fit), ticker:all is subscribed instead; 0: never",
        json_schema_extra=_group("upstream", metavar="N"),
    )
    tick_stale_after_s: float = Field(
        default=10.0,
        ge=1.0,
        le=3600.0,
        description="seconds without any tick after which ticker:all is stale and its session is replaced",
        json_schema_extra=_group("upstream", metavar="S"),
    )
    redis_url: Annotated[RedisUrl, NoDecode, PlainValidator(_redis)] = Field(
        default=redis_url("redis://localhost:6379/0"),
        description="redis://, rediss:// or unix://, with ?prefix= for another key prefix than 'ax'",
        json_schema_extra=_group("redis", metavar="URL"),
    )
    partitions: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="partitions of market data; another number is a new layout",
        json_schema_extra=_group("redis", metavar="N"),
    )
    worker_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="name of this worker in leases; default: host, process id and a random part",
        json_schema_extra=_group("redis", metavar="NAME"),
    )
    lease_ttl_s: float = Field(
        default=3.0,
        gt=2.0,
        le=60.0,
        description="seconds after which a dead worker's lease is free; a takeover takes this long and a little more",
        json_schema_extra=_group("redis", metavar="S"),
    )
    tick_log_age_s: float = Field(
        default=600.0,
        ge=1.0,
        description="seconds that ticks stay in the log",
        json_schema_extra=_group("bounds", metavar="S"),
    )
    tick_log_entries: int = Field(
        default=1_000_000,
        ge=1000,
        description="most ticks that stay in a partition's log",
        json_schema_extra=_group("bounds", metavar="N"),
    )
    account_log_age_s: float = Field(
        default=604_800.0,
        ge=1.0,
        description="seconds that orders and portfolios stay in the log",
        json_schema_extra=_group("bounds", metavar="S"),
    )
    account_log_entries: int = Field(
        default=100_000,
        ge=1000,
        description="most orders and portfolios that stay in the log",
        json_schema_extra=_group("bounds", metavar="N"),
    )
    buffer_ticks: int = Field(
        default=_BUFFER.ticks,
        ge=1000,
        le=10_000_000,
        description="ticks held while Redis is away, before they are conflated to the newest per topic",
        json_schema_extra=_group("bounds", metavar="N"),
    )
    buffer_mib: int = Field(
        default=_BUFFER.tick_bytes // _MIB,
        ge=1,
        le=65_536,
        description="memory for these ticks, MiB",
        json_schema_extra=_group("bounds", metavar="N"),
    )
    drain_s: float = Field(
        default=5.0,
        ge=0.0,
        le=300.0,
        description="seconds that a stopping worker may take to write what it holds",
        json_schema_extra=_group("operation", metavar="S"),
    )
    http: Annotated[HttpAddress | None, NoDecode, PlainValidator(_http)] = Field(
        default=HttpAddress("127.0.0.1", 9464),
        description="where /healthz, /readyz and /metrics are served; port 0 takes a free one, 'off' none",
        json_schema_extra=_group("operation", metavar="HOST:PORT"),
    )
    log_level: LogLevel = Field(
        default="info", description="least severe level that is logged", json_schema_extra=_group("operation")
    )
    log_format: LogFormat = Field(
        default="auto",
        description="auto: human on a terminal, JSON otherwise",
        json_schema_extra=_group("operation"),
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
            lease_ttl_s=self.lease_ttl_s,
            drain_s=self.drain_s,
            exit_on_auth_failure=self.exit_on_auth_failure,
            market_retention=market,
            account_retention=account,
            limits=OutboxLimits(buffer=buffer),
        )


def load_settings(flags: Mapping[str, Any], *, config: Path | None = None) -> BridgeSettings:
    """Read the settings; ``flags`` by field name, without those that were not given.

    Raises:
        SettingsError: a value is missing, unknown or wrong. The message never shows a secret.
    """
    in_file = {} if config is None else _read_toml(config)
    tables = in_file.pop("account") if isinstance(in_file.get("account"), list) else []
    for name in _SECRETS:
        if _in_environment(name):
            in_file.pop(f"{name}_file", None)
    given = {**{name: value for name, value in in_file.items() if not _in_environment(name)}, **flags}
    try:
        settings = BridgeSettings(**given)
    except ValidationError as exc:
        raise SettingsError(_explain(exc, flags, config)) from None
    if not (settings.topics or settings.follow_interest or settings.account):
        raise SettingsError("there is nothing to do: give topics, or leave follow_interest or account on")
    return settings.model_copy(update={"accounts": _accounts(settings, tables, config)})


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        values = tomllib.loads(raw.decode())
    except OSError as exc:
        raise SettingsError(f"--config {path}: {exc.strerror or exc}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} is not TOML: {exc}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise SettingsError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    for name in values:
        _check_name(name, path)
    return values


def _check_name(name: str, path: Path) -> None:
    if name in _SECRETS:
        raise SettingsError(f"{path}: {name} does not belong there: set {ENV_PREFIX}{name.upper()}, or {name}_file")
    valid = sorted(set(BridgeSettings.model_fields) - _SECRETS - {"accounts"})
    if name not in valid:
        nearest = get_close_matches(name.replace("-", "_"), valid, 1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"use {', '.join(valid)}"
        raise SettingsError(f"{path}: unknown setting {name[:40]!r}: {hint}")


def _in_environment(name: str) -> bool:
    wanted = f"{ENV_PREFIX}{name}".upper()
    return any(variable.upper() == wanted and value for variable, value in os.environ.items())


def _explain(exc: ValidationError, flags: Mapping[str, Any], config: Path | None) -> str:
    """The first fault in words: where the value came from, and what is wrong with it."""
    fault = exc.errors(include_url=False, include_input=False)[0]
    name = str(fault["loc"][0])
    if name in flags:
        source = flag_of(name)
    elif _in_environment(name):
        source = f"{ENV_PREFIX}{name.upper()}"
    else:
        source = f"{config}: {name}"
    return f"{source}: {fault['msg'].removeprefix('Value error, ')}"


def flag_of(name: str) -> str:
    """The flag of a field, such as ``--redis-url``."""
    extra = BridgeSettings.model_fields[name].json_schema_extra
    flag = extra.get("flag") if isinstance(extra, dict) else None
    return str(flag) if flag else f"--{name.replace('_', '-')}"


def _accounts(settings: BridgeSettings, tables: list[Any], config: Path | None) -> tuple[Account, ...]:
    """The key of the environment or of ``api_key_file`` first, then those of the tables."""
    try:
        key, secret = find_api_key(settings.api_key_file), find_api_secret(settings.api_secret_file)
    except ValueError as exc:
        raise SettingsError(str(exc)) from None
    first = [] if key is None else [Account(DEFAULT_ACCOUNT, key, secret)]
    accounts = [*first, *(_account(table, number, config) for number, table in enumerate(tables, 1))]
    if not accounts:
        raise SettingsError(
            f"there is no API key: set {KEY_VARIABLE}, or name a file with --api-key-file, or [[account]] in --config"
        )
    try:
        return checked_accounts(accounts)
    except ValueError as exc:
        raise SettingsError(str(exc)) from None


def _account(table: Any, number: int, config: Path | None) -> Account:
    place = f"{config}: [[account]] {number}"
    try:
        return AccountTable.model_validate(table).read()
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in fault["loc"]) or "table"
        is_secret = name in {"key", "secret", *_SECRETS}
        hint = f"; the {name.removeprefix('api_')} itself does not belong there" if is_secret else ""
        raise SettingsError(f"{place}: {name}: {fault['msg']}{hint}") from None
    except ValueError as exc:
        raise SettingsError(f"{place}: {exc}") from None
