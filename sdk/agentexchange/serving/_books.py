"""What the accounts have come to at one position: what REST answers from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange.testing._frames import timestamp
from agentexchange.testing._ledger import Ledger
from agentexchange.testing._recorded_fields import sent_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PlayedBooks"]


class PlayedBooks:
    """The `Books` of one position."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}

    def record(self, account: str, channel: str, fields: Mapping[str, Any], received_us: int) -> None:
        """An order or a portfolio was played."""
        ledger = self.ledger(account)
        sent = sent_fields(channel, fields)
        if channel == "orders":
            ledger.record(sent, timestamp(received_us / 1e6))
        else:
            ledger.record_portfolio(sent)

    def ledger(self, account: str) -> Ledger:
        """The orders of an account."""
        return self._ledgers.setdefault(account, Ledger())

    def portfolio_fields(self, account: str) -> dict[str, Any] | None:
        """The last portfolio that was played; None before the first."""
        return self.ledger(account).portfolio
