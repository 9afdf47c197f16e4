"""Commands as bytes: one call into hiredis, typed."""

from __future__ import annotations

import hiredis

__all__ = ["pack"]


def pack(*args: str | bytes | int) -> bytes:
    """One command as RESP; about a microsecond for ten arguments."""
    packed: bytes = hiredis.pack_command(args)  # type: ignore[arg-type] # its stub says a tuple of one
    return packed
