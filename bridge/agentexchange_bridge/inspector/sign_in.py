"""Who may look: a token, the sessions it opened, and how often it may be guessed at. No I/O; the clock is passed in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

__all__ = ["MIN_TOKEN", "SESSION_S", "Attempts", "SignIn", "new_token"]

MIN_TOKEN: Final = 16  # characters
SESSION_S: Final = 12 * 3600
_MAX_SESSIONS: Final = 256
_MAX_ADDRESSES: Final = 1024
_WINDOW_S: Final = 60.0


def new_token() -> str:
    """A token that nobody guesses: 192 random bits."""
    return secrets.token_urlsafe(24)


class Attempts:
    """Bounds wrong tokens: ``each`` of one address and ``all_`` together per minute."""

    def __init__(self, *, each: int = 5, all_: int = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._clock = clock
        self._all: deque[float] = deque(maxlen=all_)
        self._by_address: dict[str, deque[float]] = {}

    def wait_s(self, address: str) -> int:
        """Seconds until the next attempt is looked at; 0 for now."""
        lists = [self._all, self._by_address.get(address, deque(maxlen=self._each))]
        waits = [times[0] + _WINDOW_S - self._clock() for times in lists if len(times) == times.maxlen]
        return max([0, *(int(wait) + 1 for wait in waits if wait > 0)])

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        times = self._by_address.pop(address, None) or deque(maxlen=self._each)
        times.append(self._clock())
        self._all.append(self._clock())
        self._by_address[address] = times
        if len(self._by_address) > _MAX_ADDRESSES:
            del self._by_address[next(iter(self._by_address))]


class SignIn:
    """The token, and the sessions of those who had it. A session's id is random: the token itself is in no cookie."""

    def __init__(self, token: SecretStr, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest = _digest(token.get_secret_value())
        self._clock = clock
        self._ends: dict[str, float] = {}
        self.attempts = Attempts(clock=clock)

    def open(self, token: str, address: str) -> str | None:
        """A new session's id; None for a wrong token, which is noted."""
        if not hmac.compare_digest(_digest(token), self._digest):
            self.attempts.failed(address)
            return None
        session = secrets.token_urlsafe(32)
        self._ends[session] = self._clock() + SESSION_S
        if len(self._ends) > _MAX_SESSIONS:
            del self._ends[next(iter(self._ends))]
        return session

    def is_open(self, session: str) -> bool:
        """Whether that session was opened here and has not ended."""
        end = self._ends.get(session)
        if end is not None and end <= self._clock():
            del self._ends[session]
            return False
        return end is not None

    def close(self, session: str) -> None:
        """End a session. Idempotent."""
        self._ends.pop(session, None)


def _digest(token: str) -> bytes:
    """Of one length for any token, so that comparing tells nothing of the real one's."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
