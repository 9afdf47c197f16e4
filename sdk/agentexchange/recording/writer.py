"""Writing a recording: whole blocks are appended, so that a killed writer loses only what no block holds yet."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, Self, get_args

from agentexchange.errors import RecordingError
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import MAX_ENVELOPE_BYTES

from ._block import DEFAULT_LEVEL, MAX_BLOCK_TOPICS, Lane, pack_block
from ._directory import Directory
from ._format import pack_header, pack_trailer
from ._lock import lock
from ._peek import received_of
from ._scan import Cut, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["Fsync", "RecordingWriter", "WriterOptions"]

Fsync = Literal["block", "close", "never"]
"""When what was written is forced to the disk: a killed process loses nothing by either, a power failure does."""

_MAX_BLOCK_BYTES: Final = 1024 * 1024
_MAX_BLOCK_EVENTS: Final = MAX_BLOCK_TOPICS // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """How to write.

    Attributes:
        block_bytes: a block is full with so many bytes of envelopes; at most 1 MiB.
        block_s: it is written at the latest so many seconds after its first event: what a SIGKILL can lose.
        level: of the compression, 1 (fast) to 9 (small).
        fsync: ``block`` after every block, ``close`` when the file is closed, ``never``.
        clock: monotonic seconds.
        wall: Unix seconds.

    Raises:
        ValueError: one of these is out of its range.
    """

    block_bytes: int = _MAX_BLOCK_BYTES
    block_s: float = 2.0
    level: int = DEFAULT_LEVEL
    fsync: Fsync = "block"
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if not 1 <= self.block_bytes <= _MAX_BLOCK_BYTES:
            raise ValueError(f"block_bytes {self.block_bytes} is not in 1..{_MAX_BLOCK_BYTES}")
        if not 0 <= self.block_s <= 3600:  # noqa: PLR2004 - an hour
            raise ValueError(f"block_s {self.block_s:g} is not in 0..3600")
        if not 1 <= self.level <= 9:  # noqa: PLR2004 - zlib's levels
            raise ValueError(f"level {self.level} is not in 1..9")
        if self.fsync not in get_args(Fsync):
            raise ValueError(f"fsync {self.fsync!r} is not one of {', '.join(get_args(Fsync))}")


@dataclass(slots=True)
class _Buffer:
    """Events of one lane that no block holds yet."""

    since: float
    raws: list[bytes] = field(default_factory=list)
    size: int = 0


class RecordingWriter:
    """Writes one file; goes on at the end of one that is there. Also a context manager. One writer per file.

    What a killed writer left behind its last whole block is cut off; `cut` says how much that was.

    Args:
        path: the file.
        options: when to write and how.
        source: what the events are recorded from, for the header of a new file; no secrets.

    Raises:
        RecordingError: the file is foreign or damaged, or another process writes it.
        OSError: it cannot be opened, or written.

    Attributes:
        path: as given.
        cut: what was cut off an existing file; None where nothing was.
        created_us: when the file was begun, µs since the Unix epoch.
        events: added by this writer.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        options: WriterOptions = WriterOptions(),
        source: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.cut: Cut | None = None
        self.events = 0
        self._options = options
        self._buffers: dict[Lane, _Buffer] = {}
        self._last_us: dict[Lane, int] = {}
        self._is_broken = False
        self._file: BinaryIO = self.path.open("r+b" if self.path.exists() else "x+b")
        try:
            lock(self._file, self.path)
            self._begin(dict(source or {}))
        except BaseException as exc:
            self._file.close()
            if isinstance(exc, RecordingError):
                exc.path = str(self.path)
            raise

    def _begin(self, source: dict[str, Any]) -> None:
        if os.fstat(self._file.fileno()).st_size == 0:
            self.created_us = int(self._options.wall() * 1_000_000)
            made_by = {"created": self.created_us, "writer": f"agentexchange {version('agentexchange')}"}
            header = pack_header(source | made_by)
            self._directory = Directory(len(header))
            self._write(header)
            return
        opened = open_file(self._file)
        self.cut, self._directory = opened.tail.cut, opened.directory
        created = opened.description.get("created")
        self.created_us = created if type(created) is int else int(self._options.wall() * 1_000_000)
        self._file.truncate(self._directory.end)
        self._file.seek(self._directory.end)

    @property
    def size(self) -> int:
        """Bytes of the file that hold whole blocks."""
        return self._directory.end

    @property
    def blocks(self) -> int:
        """How many blocks the file has."""
        return len(self._directory.blocks)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that blocks hold."""
        return tuple(self._directory.lanes)

    def last_us(self, lane: Lane) -> int | None:
        """``r`` of the lane's newest event, buffered ones included; None where there is none."""
        return self._last_us.get(lane, self._directory.last_us(lane))

    def add(self, lane: Lane, raws: Sequence[bytes]) -> None:
        """Take envelopes of one lane, as they are in the log and in its order; writes full blocks.

        Raises:
            RecordingError: they are older than what was added before.
            EnvelopeError: one is too large, or the first or last is no envelope.
            OSError: the disk is full, or gone.
        """
        if not raws:
            return
        size = sum(map(len, raws))
        if len(raws) > 1 and (size > self._options.block_bytes or len(raws) > _MAX_BLOCK_EVENTS):
            half = len(raws) // 2
            self.add(lane, raws[:half])
            self.add(lane, raws[half:])
            return
        self._advance(lane, raws)
        buffer = self._buffers.get(lane)
        if buffer is None:
            buffer = self._buffers[lane] = _Buffer(self._options.clock())
        buffer.raws.extend(raws)
        buffer.size += size
        self.events += len(raws)
        if buffer.size >= self._options.block_bytes or len(buffer.raws) >= _MAX_BLOCK_EVENTS:
            self._write_block(lane)

    def tick(self) -> None:
        """Write the blocks whose time is up. Call it a few times per ``block_s``."""
        due = self._options.clock() - self._options.block_s
        for lane in [lane for lane, buffer in self._buffers.items() if buffer.since <= due]:
            self._write_block(lane)

    def flush(self) -> None:
        """Write what is held, as blocks."""
        for lane in list(self._buffers):
            self._write_block(lane)

    def close(self) -> None:
        """Write what is held and the index, and close the file. Idempotent."""
        if self._file.closed:
            return
        try:
            if not self._is_broken:
                self.flush()
                index = self._directory.pack_index()
                if index is not None:
                    self._write(index + pack_trailer(self._directory.end))
                if self._options.fsync != "never":
                    os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _advance(self, lane: Lane, raws: Sequence[bytes]) -> None:
        if max(map(len, raws)) > MAX_ENVELOPE_BYTES:
            raise EnvelopeError(f"an envelope of {lane.scope} is above {MAX_ENVELOPE_BYTES} bytes", field="envelope")
        first_us, last_us = received_of(raws[0]), received_of(raws[-1])
        before_us = self.last_us(lane) or 0
        if not before_us <= first_us <= last_us:
            raise RecordingError(
                f"events of {lane.scope} are older than what was recorded before them", field="r", path=str(self.path)
            )
        self._last_us[lane] = last_us

    def _write_block(self, lane: Lane) -> None:
        buffer = self._buffers.pop(lane)
        head, chunk = pack_block(lane, buffer.raws, level=self._options.level)
        self._write(chunk)
        self._directory.add(head, len(chunk))
        if self._options.fsync == "block":
            os.fsync(self._file.fileno())

    def _write(self, raw: bytes) -> None:
        try:
            self._file.write(raw)
            self._file.flush()
        except OSError:
            self._is_broken = True  # an index would lie behind half a block
            raise
