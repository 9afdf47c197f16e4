"""What the end of a session means: try again, the key is refused, or no retry can mend it. One pure function."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import Enum
from typing import Final

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

__all__ = ["Outcome", "SessionFault", "SessionRenewed", "Verdict", "verdict"]

_AUTH_STATUSES: Final = frozenset({401, 403})
_AUTH_CLOSE_CODES: Final = frozenset({1008, 4001, 4401})
_RETRIED_STATUSES: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = range(500, 600)
_REASON_MAX: Final = 123  # characters of a close reason: what a close frame can hold


class Outcome(Enum):
    """What follows."""

    RETRY = "retry"
    AUTH = "auth"
    """The key is refused."""
    FINAL = "final"
    """Not mended by retrying, if no session was ever open: a wrong address or certificate."""


class SessionFault(Exception):  # noqa: N818 - it is the reason a session was given up, not an error of the caller
    """The session itself decided to end; the message says why."""


class SessionRenewed(SessionFault):
    """Nothing is wrong with the session, but its owner wants another at once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows, and the words for it. They never hold the address, which has the key in it."""

    outcome: Outcome
    message: str
    code: int | None = None
    status_code: int | None = None


def verdict(exc: Exception) -> Verdict | None:  # noqa: C901, PLR0911 - a table
    """Judge what ended a session or an attempt to open one; None for an error that is nobody's network: a bug."""
    match exc:
        case ConnectionClosed():
            return _closed(exc)
        case InvalidStatus():
            return _status(exc.response.status_code)
        case ssl.SSLCertVerificationError():
            return Verdict(Outcome.FINAL, f"the server's certificate is not trusted: {_words(exc, 'verify_message')}")
        case ssl.SSLError():
            return Verdict(Outcome.FINAL, f"no TLS there: {_words(exc, 'reason')}; check wss:// and the port")
        case InvalidProxy():
            return Verdict(Outcome.FINAL, "the proxy in the environment is not valid")
        case ProxyError():
            return Verdict(Outcome.RETRY, f"the proxy did not connect ({type(exc).__name__})")
        case InvalidMessage() if isinstance(exc.__cause__, (EOFError, OSError)):
            return Verdict(Outcome.RETRY, "the connection was cut during the handshake")
        case InvalidHandshake() | InvalidURI():
            return Verdict(Outcome.FINAL, f"not a WebSocket server ({type(exc).__name__}): check base_url")
        case ImportError():
            return Verdict(Outcome.FINAL, "the proxy in the environment is a SOCKS proxy: pip install python-socks")
        case SessionFault() | EOFError():
            return Verdict(Outcome.RETRY, str(exc) or "the connection was cut")
        case TimeoutError():
            return Verdict(Outcome.RETRY, "timed out while connecting")
        case OSError():
            return Verdict(Outcome.RETRY, exc.strerror or str(exc) or type(exc).__name__)
    return None


def _words(exc: ssl.SSLError, attribute: str) -> str:
    """OpenSSL's words, which only errors that it made have."""
    return str(getattr(exc, attribute, None) or "the handshake failed")


def _closed(exc: ConnectionClosed) -> Verdict:
    if exc.rcvd is None:
        return Verdict(Outcome.RETRY, "the connection was cut", code=None if exc.sent is None else exc.sent.code)
    code = int(exc.rcvd.code)
    outcome = Outcome.AUTH if code in _AUTH_CLOSE_CODES else Outcome.RETRY
    reason = f": {exc.rcvd.reason[:_REASON_MAX]}" if exc.rcvd.reason else ""
    return Verdict(outcome, f"the platform closed the connection with {code}{reason}", code=code)


def _status(status: int) -> Verdict:
    if status in _AUTH_STATUSES:
        return Verdict(Outcome.AUTH, f"the platform refuses the API key (HTTP {status})", status_code=status)
    if status in _RETRIED_STATUSES or status in _SERVER_ERRORS:
        return Verdict(Outcome.RETRY, f"the platform answers HTTP {status}", status_code=status)
    return Verdict(
        Outcome.FINAL, f"not a WebSocket endpoint of the platform (HTTP {status}): check base_url", status_code=status
    )
