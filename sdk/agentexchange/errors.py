"""What the client raises: one base class, data as attributes.

AgentExchangeError
├── AuthenticationError   the platform refuses the API key
├── ConnectionError       retrying cannot mend it: bad certificate, no WebSocket server there (also a builtin one)
├── StaleValueError       a latest value is older than the caller accepts
├── RecordingError        a recording is damaged, foreign or of a later version (also a ValueError)
├── MissingExtraError     an optional dependency is not installed (also an ImportError)
└── UsageError            a call that cannot be made now, such as a second connect() (also a RuntimeError)

Bad arguments are plain ``ValueError`` and ``TypeError``.
"""

from __future__ import annotations

import builtins

__all__ = [
    "AgentExchangeError",
    "AuthenticationError",
    "ConnectionError",
    "MissingExtraError",
    "RecordingError",
    "StaleValueError",
    "UsageError",
]


class AgentExchangeError(Exception):
    """Base of every error of this package.

    Attributes:
        message: one or two sentences for people; never holds an API key.
        code: what upstream called it: a word such as ``INVALID_CHANNEL``, or a WebSocket close code.
        status_code: the HTTP status of a refused handshake.
    """

    def __init__(self, message: str, *, code: str | int | None = None, status_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status_code = status_code

    def __str__(self) -> str:
        return self.message


class AuthenticationError(AgentExchangeError):
    """The platform refuses the API key. Never retried: a new key is needed."""


class ConnectionError(AgentExchangeError, builtins.ConnectionError):  # noqa: A001 - the documented name
    """The connection fails in a way that retrying cannot mend. Network trouble is retried instead of raised."""


class StaleValueError(AgentExchangeError):
    """A latest value is too old, or missing.

    Attributes:
        age_s: the value's age in seconds, None where there is none at all.
    """

    def __init__(
        self,
        message: str,
        *,
        age_s: float | None = None,
        code: str | int | None = None,
        status_code: int | None = None,
    ) -> None:
        super().__init__(message, code=code, status_code=status_code)
        self.age_s = age_s


class RecordingError(AgentExchangeError, ValueError):
    """A file is no recording, or not one this release reads, or it is damaged.

    Attributes:
        field: the part at fault, such as ``magic``, ``version``, ``block head`` or ``block body``.
        path: the file, where it is known.
        offset: where in the file, in bytes, where it is known.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str = "recording",
        path: str | None = None,
        offset: int | None = None,
        code: str | int | None = None,
        status_code: int | None = None,
    ) -> None:
        self.field = field
        self.path = path
        self.offset = offset
        super().__init__(message, code=code, status_code=status_code)

    def __str__(self) -> str:
        at = "" if self.offset is None else f"at byte {self.offset}: "
        return f"{self.path}: {at}{self.message}" if self.path else f"{at}{self.message}"


class MissingExtraError(AgentExchangeError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it."""


class UsageError(AgentExchangeError, RuntimeError):
    """A call that cannot be made now."""
