"""One writer per file: the system lets go of the lock when the process ends, however it ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

from agentexchange.errors import RecordingError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["lock"]


def lock(file: BinaryIO, path: Path) -> None:
    """Lock ``file`` until it is closed. Windows has no such lock: there nothing is checked.

    Raises:
        RecordingError: another process writes it.
    """
    if sys.platform == "win32":
        return
    import fcntl  # noqa: PLC0415 - POSIX only

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RecordingError(
            "another process is writing this file: stop it, or name another file", field="lock", path=str(path)
        ) from None
