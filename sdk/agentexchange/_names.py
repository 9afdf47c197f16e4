"""What a client is called in Redis, so that people and programs tell it from every other."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass
from typing import Final

__all__ = ["Identity"]

_MAX_HOST: Final = 40
_MAX_LABEL: Final = 57  # with the ending not longer than a name in a key may be


@dataclass(frozen=True, slots=True)
class Identity:
    """One client.

    Attributes:
        name: what people call it.
        host: where it runs.
        pid: its process there.
        unique: the name with a random ending: two clients are never taken for one.
    """

    name: str
    host: str
    pid: int
    unique: str

    @classmethod
    def of(cls, label: str | None = None) -> Identity:
        """A new client of this process, called ``label``, or by its host and process id."""
        host, pid = _host(), os.getpid()
        name = label or f"{host}-{pid}"
        return cls(name=name, host=host, pid=pid, unique=f"{name[:_MAX_LABEL]}-{secrets.token_hex(3)}")


def _host() -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:_MAX_HOST]
    return name.lstrip("._-") or "host"
