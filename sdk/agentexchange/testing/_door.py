"""Who is let in: keys, faults of the handshake, and a gate that holds it up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from agentexchange.testing._options import SandboxOptions

__all__ = ["FIRST_CLOSE_CODE", "Door", "key_of"]

FIRST_CLOSE_CODE = 1000  # a refusal below it is an HTTP status


def key_of(path: str) -> str:
    """The API key in a request path, empty when there is none; the last one counts, as in most frameworks."""
    return parse_qs(urlsplit(path).query).get("api_key", [""])[-1]


class Door:
    """Decides about handshakes."""

    def __init__(self, options: SandboxOptions) -> None:
        self.known = list(dict.fromkeys(options.api_keys))  # every key ever let in: its account lives on
        self.keys = set(self.known)
        self.key_refusal = options.rules.refusal
        self.refuse_all: int | None = None
        self.delay = 0.0
        self._paths = options.rules.paths
        self._gate = asyncio.Event()
        self._gate.set()

    def refusal_of(self, path: str) -> int | None:
        """None to let a request in, else an HTTP status, or a close code for after the handshake."""
        if self.refuse_all is not None:
            return self.refuse_all
        if urlsplit(path).path not in self._paths:
            return 403  # as the live platform's framework refuses a WebSocket that has no route
        return None if key_of(path) in self.keys else self.key_refusal

    def accept(self, key: str) -> None:
        """Let ``key`` in from now on."""
        self.keys.add(key)
        if key not in self.known:
            self.known.append(key)

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
