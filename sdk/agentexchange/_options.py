"""What a client is told of its connection: every option checked, before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from agentexchange_schemas.layout import checked_name

from .candles import CandleSource

if TYPE_CHECKING:
    import ssl
    from datetime import datetime

__all__ = ["CandlesName", "ConnectionOptions", "check_positive"]

CandlesName: TypeAlias = Literal["auto", "upstream", "build"]


def check_positive(**options: float) -> None:
    """Options that must be more than 0.

    Raises:
        ValueError: one is not; names it.
    """
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} must be more than 0, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Options of `AgentExchangeWS`, which has their defaults and says what each is.

    Those of groups and positions are checked where they are used.

    Raises:
        ValueError: one is out of range.
    """

    open_timeout: float
    stale_after: float
    compression: bool
    ssl_context: ssl.SSLContext | None
    max_sessions: int
    ticker_all_from: int | None
    candles: CandlesName
    recover_limit: int
    group: str | None
    resume: str | None
    start: str | datetime
    claim_after: float
    max_attempts: int
    consumer: str | None
    client_name: str | None

    def __post_init__(self) -> None:
        check_positive(open_timeout=self.open_timeout, stale_after=self.stale_after, recover_limit=self.recover_limit)
        if self.client_name is not None:
            checked_name(self.client_name, "client_name")
        check_positive(max_sessions=self.max_sessions)
        if self.ticker_all_from is not None:
            check_positive(ticker_all_from=self.ticker_all_from)
        if self.candles not in tuple(CandleSource):
            raise ValueError(f"candles must be one of {', '.join(CandleSource)}, not {self.candles!r}")
