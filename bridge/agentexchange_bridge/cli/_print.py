"""Events as lines: JSON for programs, columns for people."""

from __future__ import annotations

import json
import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentexchange import EventMeta
    from agentexchange_schemas import FeedStatus

__all__ = ["EventPrinter"]

_SHOWN_IN_TOPIC: Final = ("symbol", "interval")


class EventPrinter:
    """Prints events of several handlers, which call it from threads of their own.

    A slow reader of stdout so holds up only the printing, never the connection.

    Args:
        as_json: JSON lines instead of columns.
        count: how many events to print; None for no end.
        done: called when that many are printed, or when stdout is gone.
    """

    def __init__(self, *, as_json: bool, count: int | None, done: Callable[[], None]) -> None:
        self._left = count
        self._done = done
        self._failure: OSError | None = None
        self._lock = threading.Lock()
        self._line = json_line if as_json else plain_line
        self._write = print if as_json or not sys.stdout.isatty() else _terminal_writer()

    def event(self, data: dict[str, Any], meta: EventMeta) -> None:
        """Print one event."""
        line = self._line(data, meta)
        with self._lock:
            if self._failure is not None or self._left == 0:
                return
            try:
                self._write(line)
                sys.stdout.flush()
            except OSError as exc:  # raised later on the main thread: in a handler it would only be logged
                self._failure = exc
            if self._left is not None:
                self._left -= 1
            if self._failure is not None or self._left == 0:
                self._done()

    def status(self, status: FeedStatus) -> None:
        """Say on stderr what the feed's state is."""
        where = " ".join(part for part in (status.scope, status.topic) if part)
        why = ", ".join(part for part in (status.cause, status.message) if part)
        print(f"feed {where + ' ' if where else ''}{status.state}{': ' + why if why else ''}", file=sys.stderr)

    def raise_failure(self) -> None:
        """Raise what went wrong with stdout, such as BrokenPipeError, if anything did."""
        if self._failure is not None:
            raise self._failure


def json_line(data: dict[str, Any], meta: EventMeta) -> str:
    """One event with its metadata as a JSON object."""
    known = {
        "topic": meta.topic,
        "scope": meta.scope,
        "epoch": meta.epoch,
        "seq": meta.seq,
        "upstream_time": _iso(meta.upstream_time),
        "received_time": _iso(meta.received_time),
        "written_time": _iso(meta.written_time),
        "log_id": meta.log_id,
        "source": meta.source,
        "data": data,
    }
    return json.dumps(known, ensure_ascii=False, separators=(",", ":"))


def plain_line(data: dict[str, Any], meta: EventMeta) -> str:
    """One event for people: when it was received (local time), topic, place in the sequence, fields."""
    time = meta.received_time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    seq = "" if meta.seq is None else f" #{meta.seq}"
    mark = "" if meta.source == "live" else f" [{meta.source}]"
    fields = " ".join(
        f"{name}={value}" for name, value in data.items() if value is not None and name not in _SHOWN_IN_TOPIC
    )
    return f"{time} {meta.topic}{seq}{mark} {fields}"


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _terminal_writer() -> Callable[[str], None]:
    """With colours where rich is installed."""
    if find_spec("rich") is None:
        return print
    from rich.console import Console

    console = Console(soft_wrap=True)
    return lambda line: console.print(line, markup=False, emoji=False)
