"""Dead letters of every group in the scopes that may be read. Blocking calls, on a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agentexchange._group.dead import DeadLetters
from agentexchange.redis import ReplyError, final_error
from agentexchange_bridge.inspector.views import DeadLetterRow
from agentexchange_schemas.layout import checked_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentexchange._group.dead import DeadLetter
    from agentexchange_bridge.inspector._link import Link
    from agentexchange_bridge.inspector.past import History

__all__ = ["Letters"]

_T = TypeVar("_T")

_MOST: Final = 500
_NAME: Final = b"name"


class Letters:
    """Groups are found by the logs that they read: ``XINFO GROUPS`` names those of a log, and nothing is searched.

    Args:
        link: the connection for questions; its URL is the one that letters are changed by.
        history: whose logs.
    """

    def __init__(self, link: Link, history: History) -> None:
        self._link = link
        self._history = history

    async def rows(self) -> list[DeadLetterRow]:
        """As `Inspection.dead_letters`.

        Raises:
            ConnectionError: Redis is away, or refuses; so does each method here.
        """
        found: list[DeadLetterRow] = []
        for scope, group in sorted(await self._groups()):
            letters = await self._on_thread(scope, group, _newest)
            found += [_row(scope, group, letter) for letter in letters]
        found.sort(key=lambda row: row.given_up_us, reverse=True)
        return found[:_MOST]

    async def retry(self, row: DeadLetterRow) -> bool:
        """As `Inspection.retry`."""
        return await self._change(row, lambda letters: [letters.retry(letter) for letter in letters.find([row.id])])

    async def drop(self, row: DeadLetterRow) -> bool:
        """As `Inspection.drop`."""
        return await self._change(row, lambda letters: [letters.drop(letter) for letter in letters.find([row.id])])

    async def _change(self, row: DeadLetterRow, change: Callable[[DeadLetters], list[bool]]) -> bool:
        if row.scope not in {lane.scope for lane in self._history.lanes}:
            return False  # of an account whose key is not here
        done: list[bool] = await self._on_thread(row.scope, row.group, change)
        return any(done)

    async def _groups(self) -> set[tuple[str, str]]:
        lanes = self._history.lanes
        with self._link.public_errors():
            answers = await self._link.ask([("XINFO", "GROUPS", self._history.key(lane)) for lane in lanes])
            found = {(lane.scope, name) for lane, told in zip(lanes, answers, strict=True) for name in _names(told)}
        if answers and all(_is_refused(told) for told in answers):
            raise final_error(answers[0], self._link.url)
        return {(scope, name) for scope, name in found if _is_name(name)}

    async def _on_thread(self, scope: str, group: str, use: Callable[[DeadLetters], list[_T]]) -> list[_T]:
        def run() -> list[_T]:
            with DeadLetters(self._link.url, scope, group) as letters:
                return use(letters)

        return await asyncio.to_thread(run)


def _newest(letters: DeadLetters) -> list[DeadLetter]:
    return letters.newest(_MOST)


def _row(scope: str, group: str, letter: DeadLetter) -> DeadLetterRow:
    given_up_us = int(letter.id.partition("-")[0]) * 1_000
    return DeadLetterRow(scope, group, letter.id, letter.topic, letter.error, letter.attempts, given_up_us, letter.data)


def _names(answer: Any) -> Sequence[str]:
    """The groups of a log; none of one that is not there, or that is not this user's."""
    if isinstance(answer, ReplyError):
        return ()
    told = [dict(zip(group[::2], group[1::2], strict=True)) for group in answer]
    return [group[_NAME].decode(errors="replace") for group in told]


def _is_refused(answer: Any) -> bool:
    return isinstance(answer, ReplyError) and answer.code == "NOPERM"


def _is_name(name: str) -> bool:
    """A group of another program's, under a name that ours cannot have, has no dead letters."""
    try:
        checked_name(name, "group")
    except ValueError:
        return False
    return True
