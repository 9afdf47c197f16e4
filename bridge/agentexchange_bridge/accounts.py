"""Whose keys a bridge has: one account per key, and the one that market data comes with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr  # noqa: TC002 - pydantic-settings reads the annotations

from agentexchange_schemas import account_scope
from agentexchange_schemas.layout import checked_name

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEFAULT_ACCOUNT", "Account", "MarketKeys", "checked_accounts"]

DEFAULT_ACCOUNT: Final = "default"
"""The name of the account whose key comes from ``AGENTEXCHANGE_API_KEY`` or ``api_key_file``."""

_AGAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """A key with the name that logs, metrics and the configuration give it.

    Attributes:
        name: 1 to 64 of ``A-Z a-z 0-9 . _ -``, beginning with a letter or digit.
        key: the platform's API key.
        secret: its secret, where the platform's REST wants one.
    """

    name: str
    key: SecretStr
    secret: SecretStr | None = None

    @property
    def scope(self) -> str:
        """The scope of its orders and portfolio."""
        return account_scope(self.key.get_secret_value())


def checked_accounts(accounts: Sequence[Account]) -> tuple[Account, ...]:
    """``accounts``, with one name and one key each.

    Raises:
        ValueError: there is none, a name is not valid or comes twice, or two names have the same key.
    """
    if not accounts:
        raise ValueError("there is no account: give at least one API key")
    names: dict[str, str] = {}
    for account in accounts:
        checked_name(account.name, "account name")
        if account.name in names:
            raise ValueError(f"account {account.name!r} is named twice")
        same = next((name for name, scope in names.items() if scope == account.scope), None)
        if same is not None:
            raise ValueError(f"accounts {same!r} and {account.name!r} have the same key: name one of them")
        names[account.name] = account.scope
    return tuple(accounts)


class MarketKeys:
    """Which account's key the market data comes with: the first, until that one is refused. State only."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._accounts = tuple(accounts)
        self._refused: set[str] = set()
        self.current = self._accounts[0]

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of all accounts."""
        return tuple(account.scope for account in self._accounts)

    @property
    def has_others(self) -> bool:
        """Whether another key could take over."""
        return len(self._accounts) > 1

    def refused(self) -> float:
        """The current key is refused: another one is current now. Returns in how many seconds it may be tried.

        At once, unless every key was refused since one last worked.
        """
        self._refused.add(self.current.scope)
        fresh = [account for account in self._accounts if account.scope not in self._refused]
        place = self._accounts.index(self.current) + 1
        self.current = fresh[0] if fresh else self._accounts[place % len(self._accounts)]
        return 0.0 if fresh else _AGAIN_S

    def worked(self) -> None:
        """The current key is good."""
        self._refused.clear()

    def replace(self, accounts: Sequence[Account]) -> bool:
        """There are other accounts now. Returns whether the current key had to change."""
        self._accounts = tuple(accounts)
        self._refused.intersection_update(account.scope for account in accounts)
        same = next((account for account in accounts if account.scope == self.current.scope), None)
        self.current = same or self._accounts[0]
        return same is None
