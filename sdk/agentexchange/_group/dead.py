"""Dead letters of a group: listed, tried once more, or dropped. Blocking, for the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentexchange._scripts import RETRY
from agentexchange.redis import public_errors, sync_client
from agentexchange_schemas import EnvelopeError, Layout
from agentexchange_schemas.envelope import decode
from agentexchange_schemas.layout import LOG_FIELD, count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from agentexchange._urls import RedisUrl

__all__ = ["DeadLetter", "DeadLetters"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that its group's handlers failed on too often.

    Attributes:
        id: of the letter; its first part is when it was given up, ms since the Unix epoch.
        topic: of the event.
        error: what the last attempt raised.
        attempts: how many there were.
        history: the last attempts: ``at``, ``member``, ``error``.
        event_id: the event's entry in the log, or in the group's stream of retries.
        log: key of the log it came from.
        data: the event's fields; None where they cannot be read.
    """

    id: str
    topic: str
    error: str
    attempts: int
    history: list[dict[str, Any]]
    event_id: str
    log: str
    data: dict[str, Any] | None


class DeadLetters:
    """One group's in one scope. Every method raises `agentexchange.ConnectionError` where Redis is away or refuses.

    Raises:
        ValueError: a scope or group that is none.
    """

    def __init__(self, url: RedisUrl, scope: str, group: str) -> None:
        self._url = url
        self._layout = Layout(url.prefix)
        self._base = self._layout.base(scope)
        self._key = self._layout.dead(scope, group)
        self._group = group
        self._client = sync_client(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def all(self) -> Iterator[DeadLetter]:
        """Every letter, the oldest first; read in pages."""
        at = "-"
        while True:
            with public_errors(self._url):
                page: Any = self._client.xrange(self._key, at, "+", count=_PAGE)
            for entry_id, fields in page:
                yield self._letter(entry_id, fields)
            if len(page) < _PAGE:
                return
            at = f"({page[-1][0].decode()}"

    def newest(self, count: int) -> list[DeadLetter]:
        """The newest letters, the newest first."""
        with public_errors(self._url):
            page: Any = self._client.xrevrange(self._key, count=count)
        return [self._letter(entry_id, fields) for entry_id, fields in page]

    def find(self, ids: Iterable[str]) -> Iterator[DeadLetter]:
        """Those of these ids that exist."""
        for letter_id in ids:
            with public_errors(self._url):
                found: Any = self._client.xrange(self._key, letter_id, letter_id)
            for entry_id, fields in found:
                yield self._letter(entry_id, fields)

    def retry(self, letter: DeadLetter) -> bool:
        """Hand it to the group once more, and to nobody else; False where it is gone already. One atomic step."""
        keys = [self._key, self._layout.retry(letter.log, self._group)]
        with public_errors(self._url):
            return bool(self._client.eval(RETRY.text, len(keys), *keys, letter.id))

    def drop(self, letter: DeadLetter) -> bool:
        """Delete it; False where it is gone already."""
        with public_errors(self._url):
            return bool(self._client.xdel(self._key, letter.id))

    def _letter(self, entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
        text = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
        return DeadLetter(
            id=entry_id.decode(),
            topic=text.get("topic", ""),
            error=text.get("error", ""),
            attempts=count_of(text.get("attempts")),
            history=_list(text.get("history", "[]")),
            event_id=text.get("id", ""),
            log=self._base + text.get("log", "log"),
            data=_data(fields.get(LOG_FIELD.encode(), b"")),
        )


def _list(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _data(raw: bytes) -> dict[str, Any] | None:
    try:
        return decode(raw).data
    except EnvelopeError:
        return None
