"""What goes wrong on a connection to Redis, and whether trying again can mend it.

RedisLinkError
├── ReplyError         Redis answered with an error; the connection is still in step
└── LinkClosedError    the connection could not be opened, or is gone
    └── NotRedisError  what answers there does not speak the protocol, or cannot be trusted

None of these leaves the SDK: where they would, a public exception is raised from them.
"""

from __future__ import annotations

from enum import Enum

from agentexchange.errors import ConnectionError as FinalConnectionError

__all__ = ["LinkClosedError", "NotRedisError", "RedisLinkError", "ReplyError", "Verdict", "final_error", "judge"]

_MAX_TEXT = 512  # characters of an error reply that are kept


class RedisLinkError(Exception):
    """Base of what `RespStream` raises."""


class ReplyError(RedisLinkError):
    """An error reply. ``code`` is its first word (``NOPERM``, ``READONLY``, ``ERR``), ``message`` all of it."""

    def __init__(self, message: str) -> None:
        self.message = message[:_MAX_TEXT]
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """The first word: Redis's own name for the kind of error."""
        return self.message.partition(" ")[0]


class LinkClosedError(RedisLinkError):
    """There is no connection (any more); ``reason`` says why, for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotRedisError(LinkClosedError):
    """The other end does not speak the protocol, or its certificate cannot be trusted."""


class Verdict(Enum):
    """What to do after a failure."""

    RETRY = "retry"
    """It may mend by itself: connect again, for as long as it takes."""
    FINAL = "final"
    """Nothing mends until a person changes something: stop and say what."""


# Redis answers these whatever is asked, until a person changes the URL, the password or the rules.
_FINAL_CODES = frozenset({"WRONGPASS", "NOAUTH", "NOPERM", "DENIED"})
_FINAL_TEXTS = (
    "ERR invalid password",  # Redis 5
    "ERR AUTH <password> called without any password configured",
    "ERR Client sent AUTH, but no password is set",
    "ERR DB index is out of range",
    "ERR SELECT is not allowed in cluster mode",
    "ERR unknown command",
)


def judge(fault: BaseException, *, has_worked: bool = False) -> Verdict:
    """Retry or final, from the exception alone.

    Refused, reset, unreachable, out of time, and the states a server passes through (``LOADING``, ``READONLY``,
    ``MASTERDOWN``, ``CLUSTERDOWN``, ``BUSY``, ``OOM``, ``MISCONF``, too many clients) are retried. Where the same URL
    ``has_worked`` in this process everything is: passwords, rules and certificates are changed in steps, and a crew
    that has run for days shall outlive the step in between.
    """
    if has_worked:
        return Verdict.RETRY
    if isinstance(fault, ReplyError):
        is_final = fault.code in _FINAL_CODES or fault.message.startswith(_FINAL_TEXTS)
    else:
        is_final = isinstance(fault, NotRedisError)
    return Verdict.FINAL if is_final else Verdict.RETRY


def final_error(fault: Exception, address: object) -> FinalConnectionError:
    """The public exception of a fault that retrying cannot mend, with what to do about it."""
    code = fault.code if isinstance(fault, ReplyError) else None
    advice = _ADVICE.get(code, "see the server's log")
    error = FinalConnectionError(f"Redis at {address} cannot be used: {fault}; {advice}", code=code)
    error.__cause__ = fault
    return error


_ADVICE = {
    None: "check the address, and redis:// or rediss:// in it",
    "WRONGPASS": "check the user and password in the URL",
    "NOAUTH": "give the password in the URL: redis://:password@host",
    "NOPERM": "ask the operator for the rule that 'agentexchange acl --role crew' prints",
    "DENIED": "the server is in protected mode: set a password or bind address there",
}
