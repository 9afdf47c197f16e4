"""What of a recording a client gets: whose account, which scopes, and what it will miss. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange.errors import UsageError
from agentexchange_schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from agentexchange_schemas import Topic

__all__ = ["account_of", "buildable", "chosen_scopes", "missing"]

_TICKERS: Final = f"{Kind.TICKER}:"
_TOLD: Final = 5  # names in one warning


def account_of(scopes: Iterable[str], *, named: str | None, own: str | None, is_needed: bool) -> str | None:
    """The scope of orders and portfolio: the one ``named``, else the key's ``own``, else the only recorded one.

    Raises:
        UsageError: none is named, several were recorded, and one ``is_needed``.
    """
    if named is not None or own is not None:
        return named or own
    recorded = accounts_in(scopes)
    if len(recorded) > 1 and is_needed:
        raise UsageError(
            f"{len(recorded)} accounts were recorded: name one, account={_listed(recorded, len(recorded))}"
        )
    return recorded[0] if len(recorded) == 1 else None


def accounts_in(scopes: Iterable[str]) -> list[str]:
    """The account scopes among ``scopes``."""
    return [scope for scope in scopes if not scope.startswith("m")]


def chosen_scopes(scopes: Iterable[str], account: str | None, wanted: Iterable[Topic]) -> tuple[str, ...]:
    """Every market scope, and the account's where anything private is wanted."""
    is_private = any(topic.is_private for topic in wanted)
    return tuple(scope for scope in scopes if scope.startswith("m") or (is_private and scope == account))


def buildable(places: Collection[tuple[str, str]], wanted: Iterable[Topic]) -> dict[Topic, str]:
    """Candle topics that were not recorded, though the ticks were that they are made from; and the scope of these."""
    there = {topic: scope for scope, topic in places if scope.startswith("m")}
    return {
        topic: there[f"{_TICKERS}{topic.symbol}"]
        for topic in wanted
        if topic.kind is Kind.CANDLES and str(topic) not in there and f"{_TICKERS}{topic.symbol}" in there
    }


def missing(
    places: Collection[tuple[str, str]], account: str | None, wanted: Iterable[Topic], *, name: str = "the recording"
) -> list[str]:
    """Sentences on the topics of handlers that will stay silent.

    Args:
        places: what was recorded: (scope, topic).
        account: the scope whose orders and portfolio are replayed.
        wanted: what there are handlers for.
        name: of what is replayed.
    """
    there = {topic for scope, topic in places if scope.startswith("m") or scope == account}
    silent = [topic for topic in wanted if not _occurs(topic, there)]
    sentences = []
    others = accounts_in(sorted({scope for scope, _ in places}))
    if account not in others and any(topic.is_private for topic in silent):
        whose = "no account" if not others else f"not this account, but {_listed(others)}: name it, account=…"
        sentences.append(f"in {name} there is {whose}")
    if silent:
        names = _listed([str(topic) for topic in silent])
        sentences.append(f"in {name} there are no events of {names}: handlers for that stay silent")
    return sentences


def _occurs(topic: Topic, there: set[str]) -> bool:
    if topic.is_wildcard:
        return any(name.startswith(_TICKERS) for name in there)
    return str(topic) in there


def _listed(names: list[str], most: int = _TOLD) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
