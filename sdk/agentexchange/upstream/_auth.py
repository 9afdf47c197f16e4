"""When a refused key is final: counting, without I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["AuthJudge", "AuthPolicy", "AuthVerdict"]

_CONFIRMATIONS: Final = 3
"""Refusals in a row, after the first, that it takes to give up a key that has worked: about 7 s of backoff."""

_PATIENT_REFUSALS: Final = 3
_PATIENT_SPAN_S: Final = 10.0
_PATIENT_DELAY_S: Final = 60.0


class AuthPolicy(Enum):
    """What to do about refusals (HTTP 401 and 403, close codes 1008, 4001 and 4401)."""

    STRICT = "strict"
    """A client's: final at once, or after a few confirmations where the key has worked before."""
    PATIENT = "patient"
    """A bridge's: never final; told after 3 refusals over 10 s, then retried once a minute."""


@dataclass(frozen=True, slots=True)
class AuthVerdict:
    """What a refusal means: ``final`` ends the feed, ``told`` says auth_failed, ``delay_s`` replaces the backoff."""

    final: bool = False
    told: bool = False
    delay_s: float | None = None


class AuthJudge:
    """Remembers whether a key has worked, across a client's connections.

    The platform also answers 403 while its own database is away, so one refusal is no proof against a key that
    has worked.
    """

    def __init__(self, policy: AuthPolicy) -> None:
        self._policy = policy
        self._worked = False
        self._refusals: Counter[int] = Counter()
        self._first_at = 0.0

    def worked(self) -> None:
        """A session got an ack, event or heartbeat: the key is good."""
        self._worked = True
        self._refusals.clear()

    def refused(self, now: float, session: int = 0) -> AuthVerdict:
        """The key was refused at ``now`` (seconds, monotonic).

        Args:
            now: the time.
            session: which of several sessions was refused: each counts for itself, as all may be in the same moment.
        """
        self._first_at = self._first_at if self._refusals else now
        self._refusals[session] += 1
        refusals = self._refusals[session]
        if self._policy is AuthPolicy.STRICT:
            final = not self._worked or refusals > _CONFIRMATIONS
            return AuthVerdict(final=final, told=final)
        if refusals >= _PATIENT_REFUSALS and now - self._first_at >= _PATIENT_SPAN_S:
            return AuthVerdict(told=True, delay_s=_PATIENT_DELAY_S)
        return AuthVerdict()
