"""One recording after the other: a full or old file gets its index and a name with its time; old ones are deleted."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from agentexchange.errors import RecordingError

from .reader import Recording
from .writer import RecordingWriter, WriterOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from ._block import Lane

__all__ = ["RotatingWriter", "RotationOptions", "rotated_files"]

MAX_BLOCKS: Final = 200_000
"""A file with so many blocks is full whatever the options say: days of quiet logs, which would be slow to open."""

_LOOK_BACK: Final = 100  # rotated files that are looked at for where a lane was left


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOptions:
    """When a file is full, and how many are kept. None: never, or all.

    Attributes:
        max_bytes: a file of so many bytes is full.
        max_s: so is one that was begun so many seconds ago.
        keep_s: rotated files that were last written longer ago are deleted.
        keep_bytes: the oldest rotated files are deleted until the others take no more than this.
        wall: Unix seconds.
    """

    max_bytes: int | None = None
    max_s: float | None = None
    keep_s: float | None = None
    keep_bytes: int | None = None
    wall: Callable[[], float] = time.time


class RotatingWriter:
    """A `RecordingWriter` of ``path`` that renames it to ``<stem>-<UTC time>.axlog`` and begins anew. Context manager.

    Args:
        path: the file that is being written.
        rotation: when to rotate and what to keep.
        options: of the writers.
        source: for the headers.
        tell: is given a sentence about each rotation and deletion.

    Raises:
        RecordingError: the file is foreign or damaged, or another process writes it.
        OSError: it cannot be opened, or written.

    Attributes:
        path: as given.
        cut: what a killed writer had left behind the last whole block of ``path``, and was cut off; None for nothing.
        events: added by this writer.
        files: rotated by it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rotation: RotationOptions = RotationOptions(),
        options: WriterOptions | None = None,
        source: Mapping[str, Any] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = Path(path)
        self._rotation = rotation
        self._options = options or WriterOptions()
        self._source = source
        self._tell = tell
        self._writer = self._open()
        self.cut = self._writer.cut
        self.events = 0
        self.files = 0
        self._left_us = self._read_left()
        self._clean()

    def last_us(self, lane: Lane) -> int | None:
        """``r`` of the lane's newest event, in this file or one before; None where there is none."""
        found = self._writer.last_us(lane)
        return self._left_us.get(lane) if found is None else found

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Every lane that is known, of this file and those before."""
        return tuple(dict.fromkeys((*self._left_us, *self._writer.lanes)))

    def add(self, lane: Lane, raws: Sequence[bytes]) -> None:
        """As `RecordingWriter.add`; a full file is rotated afterwards."""
        self._writer.add(lane, raws)
        self.events += len(raws)
        if raws:
            self._left_us[lane] = self._writer.last_us(lane) or 0
        self._rotate_if_full()

    def tick(self) -> None:
        """As `RecordingWriter.tick`; also rotates a file whose time is up."""
        self._writer.tick()
        self._rotate_if_full()

    def flush(self) -> None:
        """Write what is held, as blocks."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file with its index; it keeps its name, and a next writer goes on with it. Idempotent."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> RecordingWriter:
        return RecordingWriter(self.path, options=self._options, source=self._source)

    def _rotate_if_full(self) -> None:
        limits, writer = self._rotation, self._writer
        is_full = limits.max_bytes is not None and writer.size >= limits.max_bytes
        is_full |= writer.blocks >= MAX_BLOCKS
        is_old = limits.max_s is not None and limits.wall() - writer.created_us / 1_000_000 >= limits.max_s
        if is_full or (is_old and (writer.lanes or writer.events)):
            self._rotate()

    def _rotate(self) -> None:
        self._writer.close()
        target = _free_name(self.path, self._rotation.wall())
        self.path.rename(target)
        self.files += 1
        self._tell(f"{target.name}: {target.stat().st_size:,} bytes, closed")
        self._writer = self._open()
        self._clean()

    def _clean(self) -> None:
        for path in _surplus(rotated_files(self.path), self._rotation):
            path.unlink(missing_ok=True)
            self._tell(f"{path.name}: deleted, beyond what is to be kept")

    def _read_left(self) -> dict[Lane, int]:
        """Where each lane was left in rotated files."""
        left: dict[Lane, int] = {}
        for path in rotated_files(self.path)[-_LOOK_BACK:]:
            try:
                with Recording(path) as recording:
                    left.update(recording.lane_ends())
            except (RecordingError, OSError) as exc:
                self._tell(f"{path.name} is passed over: {exc}")
        return left


def rotated_files(path: Path) -> list[Path]:
    """The files that were rotated away from ``path``, oldest first."""
    read_name = re.compile(rf"{re.escape(path.stem)}-(\d{{8}}T\d{{6}}Z)(?:-(\d+))?{re.escape(path.suffix)}").fullmatch
    found = []
    for sibling in path.parent.iterdir():
        with suppress(FileNotFoundError):  # others may move files away meanwhile
            if name := read_name(sibling.name):
                found.append((sibling.stat().st_mtime_ns, name[1], int(name[2] or 1), sibling))
    return [sibling for *_, sibling in sorted(found)]


def _surplus(files: list[Path], limits: RotationOptions) -> list[Path]:
    """Those of ``files``, oldest first, that are not to be kept."""
    kept_bytes, surplus = 0, []
    for path in reversed(files):
        with suppress(FileNotFoundError):
            state = path.stat()
            kept_bytes += state.st_size
            too_old = limits.keep_s is not None and limits.wall() - state.st_mtime > limits.keep_s
            too_many = limits.keep_bytes is not None and kept_bytes > limits.keep_bytes
            if too_old or too_many:
                surplus.append(path)
    return surplus[::-1]


def _free_name(path: Path, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    target, number = path.with_name(f"{path.stem}-{stamp}{path.suffix}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.stem}-{stamp}-{number}{path.suffix}")
    return target
