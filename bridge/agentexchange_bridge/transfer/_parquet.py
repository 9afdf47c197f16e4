"""Events as Parquet: one file per kind, since each kind has columns of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow.parquet as pq

from agentexchange_schemas.envelope import STATUS_TOPIC, decode

from ._columns import KINDS, NOTICES, schema_of, table_of
from ._files import whole_or_not

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agentexchange.recording import LaneRun
    from agentexchange_schemas import Envelope

__all__ = ["Written", "parquet_path", "write_parquet"]

_ROWS: Final = 100_000  # of a row group


class Written(NamedTuple):
    """One file.

    Attributes:
        path: its name.
        rows: events in it.
        misfits: values that no column could hold exactly: null there, verbatim in ``extra``.
    """

    path: Path
    rows: int
    misfits: int


def parquet_path(out: Path, kind: str) -> Path:
    """``day.ticker.parquet`` of ``day.parquet``."""
    return out.with_name(f"{out.stem}.{kind}.parquet")


def write_parquet(runs: Iterable[LaneRun], out: Path) -> list[Written]:
    """Write a file per kind that occurs. An error leaves none behind.

    Raises:
        EnvelopeError: one is no envelope.
        OSError: a file cannot be written.
    """
    with ExitStack() as stack:
        tables = {kind: _Table(kind, parquet_path(out, kind), stack) for kind in KINDS}
        for lane, raws in runs:
            for envelope in map(decode, raws):
                topic = envelope.topic
                kind = NOTICES if topic == STATUS_TOPIC else topic.partition(":")[0]
                tables[kind].add(lane.scope, envelope)
        for table in tables.values():
            table.flush()
        return [Written(table.path, table.rows, table.misfits) for table in tables.values() if table.rows]


class _Table:
    """One kind's file, made with its first row."""

    def __init__(self, kind: str, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.rows = 0
        self.misfits = 0
        self._kind = kind
        self._stack = stack
        self._writer: pq.ParquetWriter | None = None
        self._scopes: list[str] = []
        self._envelopes: list[Envelope] = []

    def add(self, scope: str, envelope: Envelope) -> None:
        self._scopes.append(scope)
        self._envelopes.append(envelope)
        if len(self._envelopes) >= _ROWS:
            self.flush()

    def flush(self) -> None:
        if not self._envelopes:
            return
        if self._writer is None:
            part = self._stack.enter_context(whole_or_not(self.path))
            self._writer = self._stack.enter_context(pq.ParquetWriter(part, schema_of(self._kind), compression="zstd"))
        table, misfits = table_of(self._kind, self._scopes, self._envelopes)
        self._writer.write_table(table)
        self.misfits += misfits
        self.rows += len(self._envelopes)
        self._scopes.clear()
        self._envelopes.clear()
