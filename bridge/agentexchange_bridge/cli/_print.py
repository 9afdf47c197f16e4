"""Prints events, whether handlers bring them one by one or a log brings them in runs."""

from __future__ import annotations

import sys
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from agentexchange.recording import topic_of
from agentexchange_bridge.rows import STATUS, Row, row_of, row_of_event
from agentexchange_schemas import EnvelopeError, FeedStatus
from agentexchange_schemas.envelope import decode, frame_of

from ._shapes import Table
from ._table import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from agentexchange import EventMeta

    from ._shapes import Shape
    from ._wanted import Wanted

__all__ = ["EventPrinter"]


class EventPrinter:
    """Prints events of several handlers, which call it from threads of their own, or of a log.

    A slow reader of stdout so holds up only the printing, never the connection.

    Args:
        shape: how they look.
        wanted: which of them.
        count: how many to print; None for no end.
        done: called when that many are printed, or when stdout is gone.

    Attributes:
        is_done: whether it was.
    """

    def __init__(self, *, shape: Shape, wanted: Wanted, count: int | None, done: Callable[[], None]) -> None:
        self.is_done = False
        self._wanted = wanted
        self._left = count
        self._done = done
        self._failure: OSError | None = None
        self._has_junk = False
        self._lock = threading.Lock()
        self._line = shape.line
        self._print = _terminal_printer(shape) if isinstance(shape, Table) and sys.stdout.isatty() else self._write
        if shape.head is not None:
            sys.stdout.write(f"{shape.head}\n")

    def event(self, data: dict[str, Any], meta: EventMeta) -> None:
        """Print one event of a handler, if it is wanted; does not raise."""
        if self._wanted.takes(meta.topic):
            self._handed([row_of_event(data, meta)])

    def status(self, status: FeedStatus) -> None:
        """Print what the feed's state is: as an event where these are wanted, else on stderr; does not raise."""
        if not self._wanted.has_notices:
            _say(status)
            return
        now_us = time.time_ns() // 1000
        self._handed([Row(STATUS, status.scope, None, None, None, now_us, None, "live", status.to_fields())])

    def log(self, scope: str, raws: Sequence[bytes], source: str) -> None:
        """Print the wanted ones of a run of envelopes; states of the feed that are no wanted events go to stderr.

        What is no envelope is left out, and said once.

        Raises:
            OSError: stdout is gone.
        """
        rows = []
        for raw in raws:
            try:
                if (row := self._row(scope, raw, source)) is not None:
                    rows.append(row)
            except EnvelopeError as exc:
                self._junk(scope, exc)
        with self._lock:
            self._take(rows)

    def raise_failure(self) -> None:
        """Raise what went wrong with stdout, such as BrokenPipeError, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _row(self, scope: str, raw: bytes, source: str) -> Row | None:
        topic = topic_of(raw)
        if self._wanted.takes(topic):
            return row_of(scope, decode(raw), source, frame=frame_of(raw))
        if topic == STATUS:
            _say(FeedStatus.from_fields(decode(raw).data))
        return None

    def _junk(self, scope: str, exc: EnvelopeError) -> None:
        if not self._has_junk:
            print(f"{scope}: what is no event is left out: {printable(str(exc))}", file=sys.stderr)
        self._has_junk = True

    def _handed(self, rows: list[Row]) -> None:
        with self._lock:
            if self._failure is not None:
                return
            try:
                self._take(rows)
            except OSError as exc:  # raised later on the main thread: in a handler it would only be logged
                self._failure = exc
                self._end()

    def _take(self, rows: list[Row]) -> None:
        if self.is_done:
            return
        held = [row for row in rows if self._wanted.holds(row)]
        if self._left is not None:
            held = held[: self._left]
            self._left -= len(held)
        if held:
            self._print(held)
            sys.stdout.flush()
        if self._left == 0:
            self._end()

    def _end(self) -> None:
        self.is_done = True
        self._done()

    def _write(self, rows: list[Row]) -> None:
        sys.stdout.write("".join(f"{self._line(row)}\n" for row in rows))


def _say(status: FeedStatus) -> None:
    where = " ".join(part for part in (status.scope, status.topic) if part)
    why = ", ".join(part for part in (status.cause, status.message) if part)
    text = f"feed {where + ' ' if where else ''}{status.state}{': ' + why if why else ''}"
    print(printable(text), file=sys.stderr)


def _terminal_printer(shape: Table) -> Callable[[list[Row]], None]:
    """With colours where rich is installed."""
    if find_spec("rich") is None:
        return lambda rows: print("\n".join(map(shape.line, rows)))
    from rich.console import Console
    from rich.text import Text

    console, space = Console(soft_wrap=True), (" ", "")
    return lambda rows: console.print(
        Text("\n").join(
            Text.assemble(*(part for cell in shape.cells(row) for part in (cell, space)), end="") for row in rows
        ),
        highlight=False,
    )
