"""The sandbox's options, checked in one place."""

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

__all__ = ["DEMO_KEY", "Knobs", "SandboxKeywords", "SandboxOptions", "SlowClient"]

DEMO_KEY = "ak_live_sandbox"

SlowClient = Literal["skip", "freeze", "disconnect"]
_MAX_PORT = 65535


class SandboxKeywords(TypedDict, total=False):
    """The keyword arguments of ``SandboxExchange``."""

    host: str
    port: int
    pairs: int
    rate: float
    seed: int
    api_keys: Sequence[str]
    api_secret: str | None
    dialect: DialectName
    push_candles: bool | None
    order_rate: float
    heartbeat_interval: float
    pong_timeout: float
    subscription_limit: int | Literal["dialect"] | None
    slow_client: SlowClient
    max_buffer: int
    compression: bool
    clock: Callable[[], float]
    journal: Callable[[JournalEntry], None] | None


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """See ``SandboxExchange`` for what each one means.

    Raises:
        ValueError: an option is outside its range; the message names the option and the range.
    """

    host: str = "127.0.0.1"
    port: int = 0
    pairs: int = 600
    rate: float = 500.0
    seed: int = 1
    api_keys: Sequence[str] = field(default=(DEMO_KEY,), repr=False)
    api_secret: str | None = field(default=None, repr=False)
    dialect: DialectName = "live"
    push_candles: bool | None = None
    order_rate: float = 0.0
    heartbeat_interval: float = 30.0
    pong_timeout: float = 10.0
    subscription_limit: int | Literal["dialect"] | None = "dialect"
    slow_client: SlowClient = "skip"
    max_buffer: int = 4 * 1024 * 1024
    compression: bool = False
    clock: Callable[[], float] = time.time
    journal: Callable[[JournalEntry], None] | None = None

    def __post_init__(self) -> None:
        dialect_named(self.dialect)
        if isinstance(self.api_keys, str) or not self.api_keys or not all(self.api_keys):
            raise ValueError("api_keys must be a sequence of one or more non-empty strings")
        _within("port", self.port, 0, _MAX_PORT)
        _within("pairs", self.pairs, 1, MAX_PAIRS)
        _within("rate", self.rate, 0, 1e6)
        _within("order_rate", self.order_rate, 0, 1e4)
        _positive("heartbeat_interval", self.heartbeat_interval)
        _positive("pong_timeout", self.pong_timeout)
        _positive("max_buffer", self.max_buffer)
        if isinstance(self.subscription_limit, int) and self.subscription_limit < 0:
            raise ValueError(f"subscription_limit must be 0 or more, not {self.subscription_limit}")
        if self.slow_client not in get_args(SlowClient):
            raise ValueError(f"slow_client must be one of {', '.join(get_args(SlowClient))}")

    def knobs(self) -> Knobs:
        """The options that may change while the sandbox runs, at their starting values."""
        limit = self.subscription_limit
        return Knobs(
            rate=self.rate,
            order_rate=self.order_rate,
            heartbeat_interval=self.heartbeat_interval,
            pong_timeout=self.pong_timeout,
            subscription_limit=self.rules.subscription_limit if limit == "dialect" else limit,
        )

    @property
    def rules(self) -> Dialect:
        """The dialect's rules."""
        return dialect_named(self.dialect)


@dataclass(kw_only=True)
class Knobs:
    """What the control object turns while the sandbox runs; units as in ``SandboxOptions``."""

    rate: float
    order_rate: float
    heartbeat_interval: float
    pong_timeout: float
    subscription_limit: int | None
    pings_muted: bool = False


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low:g} to {high:g}, not {value}")


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, not {value}")
