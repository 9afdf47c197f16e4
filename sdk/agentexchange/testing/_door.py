"""Who is let in: keys, faults of the handshake, and a gate that holds it up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentexchange.testing._dialect import Dialect

__all__ = ["FIRST_CLOSE_CODE", "Door", "key_of"]

FIRST_CLOSE_CODE = 1000  # a refusal below it is an HTTP status


def key_of(path: str) -> str:
    """The API key in a request path, empty when there is none; the last one counts, as in most frameworks."""
    return parse_qs(urlsplit(path).query).get("api_key", [""])[-1]


class Door:
    """Decides about handshakes, and whose account a key is the key of.

    Args:
        rules: the dialect's.
        api_keys: the keys that are let in.
        admits: which others are let in too, until they are refused by name; none by default.
        account_of: the name of a key's account; by default each key is its own.
    """

    def __init__(
        self,
        rules: Dialect,
        api_keys: Iterable[str],
        *,
        admits: Callable[[str], bool] | None = None,
        account_of: Callable[[str], str] = str,
    ) -> None:
        self.known = list(dict.fromkeys(api_keys))  # every key ever let in: its account lives on
        self.account_of = account_of
        self.key_refusal = rules.refusal
        self.refuse_all: int | None = None
        self.delay = 0.0
        self._keys = set(self.known)
        self._admits = admits
        self._refused: set[str] = set()
        self._paths = rules.paths
        self._gate = asyncio.Event()
        self._gate.set()

    def admits(self, key: str) -> bool:
        """Whether a key is good."""
        if key in self._keys:
            return True
        return self._admits is not None and key not in self._refused and self._admits(key)

    def refusal_of(self, path: str) -> int | None:
        """None to let a request in, else an HTTP status, or a close code for after the handshake."""
        if self.refuse_all is not None:
            return self.refuse_all
        if urlsplit(path).path not in self._paths:
            return 403  # as the live platform's framework refuses a WebSocket that has no route
        return None if self.admits(key_of(path)) else self.key_refusal

    def accept(self, key: str) -> None:
        """Let ``key`` in from now on."""
        self._keys.add(key)
        self._refused.discard(key)
        if key not in self.known:
            self.known.append(key)

    def refuse(self, *keys: str) -> None:
        """Let these keys in no more; without any, none at all."""
        self._refused.update(keys)
        self._keys.difference_update(keys or tuple(self._keys))
        if not keys:
            self._admits = None

    def close_gate(self) -> None:
        """Hold up all handshakes."""
        self._gate.clear()

    def open_gate(self) -> None:
        """Let the held handshakes go on."""
        self._gate.set()

    async def pass_gate(self) -> None:
        """Wait as long as a handshake has to."""
        await self._gate.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
