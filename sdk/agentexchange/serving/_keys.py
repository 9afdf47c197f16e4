"""Whose private events a key gets: those recorded under it, or those that it stands in for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import account_scope

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["MARKET_ONLY", "Keys", "chosen_account"]

MARKET_ONLY: Final = ""
"""The account of a key that has none in the recording."""

_is_key = re.compile(r"ak_[!-~]{1,253}", re.ASCII).fullmatch
_scope_of = lru_cache(maxsize=1024)(account_scope)


def chosen_account(recorded: Collection[str], named: str | None) -> str:
    """The account that stand-in keys get.

    Args:
        recorded: the accounts of the recording.
        named: one of them, or its first characters; None where there is no choice.

    Raises:
        ValueError: none is meant, or several may be; names those recorded.
    """
    there = ", ".join(sorted(recorded)) or "none"
    if named is not None:
        found = [account for account in recorded if account.startswith(named)]
        if len(found) != 1:
            raise ValueError(f"account {named[:40]!r} names {len(found)} of the recorded accounts: {there}")
        return found[0]
    if len(recorded) > 1:
        raise ValueError(f"several accounts are recorded: name as 'account' the one that the key is to get, of {there}")
    return next(iter(recorded), MARKET_ONLY)


class Keys:
    """The keys of one served recording; none has an account until `know`.

    Args:
        stand_ins: keys that get the account told to `know`, unless they have one of their own.
        only_known: let in no key that has no account here.
    """

    def __init__(self, stand_ins: Iterable[str], *, only_known: bool) -> None:
        self._stand_ins = frozenset(stand_ins)
        self._only_known = only_known
        self._recorded: frozenset[str] = frozenset()
        self._account = MARKET_ONLY

    def know(self, recorded: Collection[str], *, account: str | None) -> None:
        """The recording has these accounts; stand-in keys get ``account``, see `chosen_account`.

        Raises:
            ValueError: none is meant, or several may be.
        """
        self._recorded = frozenset(recorded)
        if any(_scope_of(key) not in self._recorded for key in self._stand_ins):
            self._account = chosen_account(recorded, account)

    def account_of(self, key: str) -> str:
        """The account whose events ``key`` gets, `MARKET_ONLY` for none."""
        scope = _scope_of(key)
        if scope in self._recorded:
            return scope
        return self._account if key in self._stand_ins else MARKET_ONLY

    def admits(self, key: str) -> bool:
        """Whether ``key`` is let in: a known one, or any that looks like the platform's (``ak_…``)."""
        if key in self._stand_ins or _scope_of(key) in self._recorded:
            return True
        return not self._only_known and _is_key(key) is not None
