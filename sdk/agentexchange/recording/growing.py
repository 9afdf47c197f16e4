"""Reading a recording while it is written, and on in the files that its recorder begins after it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from agentexchange.errors import RecordingError

from .reader import Recording
from .rotation import rotated_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ._topics import TopicChoice
    from .reader import LaneRun

__all__ = ["Growing"]

_PATIENCE: Final = 4  # looks: between two files of a recorder there is a moment without any that is open


class Growing:
    """What is written behind the blocks that an open recording has: whole block by whole block, in order within a look.

    A file that was rotated is followed by those that came after it, up to the one that has its name now. Not
    thread-safe, like `Recording`.

    Args:
        recording: all of whose blocks have been read; it stays its owner's to close.
        tell: is given a sentence when the next file is begun with, and when the end is reached.

    Attributes:
        is_over: whether the recorder has closed the file and begun no other.
    """

    def __init__(self, recording: Recording, tell: Callable[[str], None]) -> None:
        self.is_over = False
        self._path = recording.path
        self._recording = recording
        self._own: Recording | None = None
        self._tell = tell
        self._seen = recording.blocks
        self._idle = 0

    def more(
        self, start_us: int | None = None, *, topics: TopicChoice, scopes: Iterable[str] | None = None
    ) -> Iterator[LaneRun]:
        """Look once and give what is new, nothing once it is over; arguments as for `Recording.runs`. To be read whole.

        Raises:
            RecordingError: damaged there; everything before has been handed out.
            OSError: the file cannot be read.
        """
        if self.is_over:
            return
        later = self._later()  # before the blocks are read: whoever rotates a file has written all of it
        seen = self._seen
        self._recording.refresh()
        self._seen = self._recording.blocks
        yield from self._recording.runs(start_us, topics=topics, scopes=scopes, skip=seen)
        if later is not None:
            self._go_on(later)
        elif self._recording.is_closed:
            self._wait("closed by its recorder")
        else:
            self._idle = 0

    def close(self) -> None:
        """Close what was opened here. Idempotent."""
        if self._own is not None:
            self._own.close()

    def _later(self) -> Path | None:
        """The file that the recorder wrote after this one; None where it has begun no other."""
        here = self._recording.stat()
        try:
            if os.path.samestat(self._path.stat(), here):
                return None
            parts = [(part, part.stat()) for part in (*rotated_files(self._path), self._path)]
        except FileNotFoundError:  # it is about to be begun, or old ones are deleted just now: the next look tells
            return None
        at = next((at for at, (_, state) in enumerate(parts) if os.path.samestat(state, here)), None)
        if at is not None:
            return parts[at + 1][0]
        return next(part for part, state in parts if state.st_mtime_ns >= here.st_mtime_ns or part == self._path)

    def _go_on(self, path: Path) -> None:
        try:
            following = Recording(path)
        except (RecordingError, FileNotFoundError) as exc:  # not even its header is written yet
            self._wait(f"what follows it cannot be read: {exc}")
            return
        self._tell(f"the recorder has begun another file: reading on in {path.name}")
        self.close()
        self._recording = self._own = following
        self._seen = self._idle = 0

    def _wait(self, reason: str) -> None:
        self._idle += 1
        if self._idle == _PATIENCE:
            self.is_over = True
            self._tell(f"{self._recording.path.name}: {reason}: nothing follows")
