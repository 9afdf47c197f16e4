"""The options of a local exchange, and those of the sandbox's market, checked in one place."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from agentexchange.testing._dialect import dialect_named
from agentexchange.testing._pairs import MAX_PAIRS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentexchange.testing._dialect import Dialect, DialectName
    from agentexchange.testing._session import JournalEntry

__all__ = [
    "DEMO_KEY",
    "Knobs",
    "MarketKnobs",
    "SandboxKeywords",
    "SandboxOptions",
    "ServerKeywords",
    "ServerOptions",
    "SlowClient",
]

DEMO_KEY = "ak_live_sandbox"

SlowClient = Literal["skip", "freeze", "disconnect"]
_MAX_PORT = 65535


class ServerKeywords(TypedDict, total=False):
    """The keyword arguments of every local exchange."""

    host: str
    port: int
    api_secret: str | None
    dialect: DialectName
    heartbeat_interval: float
    pong_timeout: float
    subscription_limit: int | Literal["dialect"] | None
    compression: bool


class SandboxKeywords(ServerKeywords, total=False):
    """The keyword arguments of ``SandboxExchange``."""

    pairs: int
    rate: float
    seed: int
    api_keys: Sequence[str]
    push_candles: bool | None
    order_rate: float
    slow_client: SlowClient
    max_buffer: int
    clock: Callable[[], float]
    journal: Callable[[JournalEntry], None] | None


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What a local exchange is to be told whatever it plays; see ``SandboxExchange``.

    Raises:
        ValueError: an option is outside its range; the message names the option and the range.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_secret: str | None = field(default=None, repr=False)
    dialect: DialectName = "live"
    heartbeat_interval: float = 30.0
    pong_timeout: float = 10.0
    subscription_limit: int | Literal["dialect"] | None = "dialect"
    max_buffer: int = 4 * 1024 * 1024
    compression: bool = False

    def __post_init__(self) -> None:
        dialect_named(self.dialect)
        _within("port", self.port, 0, _MAX_PORT)
        _positive("heartbeat_interval", self.heartbeat_interval)
        _positive("pong_timeout", self.pong_timeout)
        _positive("max_buffer", self.max_buffer)
        if isinstance(self.subscription_limit, int) and self.subscription_limit < 0:
            raise ValueError(f"subscription_limit must be 0 or more, not {self.subscription_limit}")

    def knobs(self) -> Knobs:
        """The options that may change while the exchange runs, at their starting values."""
        limit = self.subscription_limit
        return Knobs(
            heartbeat_interval=self.heartbeat_interval,
            pong_timeout=self.pong_timeout,
            subscription_limit=self.rules.subscription_limit if limit == "dialect" else limit,
        )

    @property
    def rules(self) -> Dialect:
        """The dialect's rules."""
        return dialect_named(self.dialect)


@dataclass(frozen=True, kw_only=True)
class SandboxOptions(ServerOptions):
    """See ``SandboxExchange`` for what each one means.

    Raises:
        ValueError: an option is outside its range; the message names the option and the range.
    """

    pairs: int = 600
    rate: float = 500.0
    seed: int = 1
    api_keys: Sequence[str] = field(default=(DEMO_KEY,), repr=False)
    push_candles: bool | None = None
    order_rate: float = 0.0
    slow_client: SlowClient = "skip"
    clock: Callable[[], float] = time.time
    journal: Callable[[JournalEntry], None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.api_keys, str) or not self.api_keys or not all(self.api_keys):
            raise ValueError("api_keys must be a sequence of one or more non-empty strings")
        _within("pairs", self.pairs, 1, MAX_PAIRS)
        _within("rate", self.rate, 0, 1e6)
        _within("order_rate", self.order_rate, 0, 1e4)
        if self.slow_client not in get_args(SlowClient):
            raise ValueError(f"slow_client must be one of {', '.join(get_args(SlowClient))}")

    def market_knobs(self) -> MarketKnobs:
        """The rates, at their starting values."""
        return MarketKnobs(rate=self.rate, order_rate=self.order_rate)


@dataclass(kw_only=True)
class Knobs:
    """What the control object turns while an exchange runs; units as in ``ServerOptions``."""

    heartbeat_interval: float
    pong_timeout: float
    subscription_limit: int | None
    pings_muted: bool = False


@dataclass(kw_only=True)
class MarketKnobs:
    """What it turns of the sandbox's market; units as in ``SandboxOptions``."""

    rate: float
    order_rate: float


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low:g} to {high:g}, not {value}")


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, not {value}")
