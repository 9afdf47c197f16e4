"""Events out of logs and recordings into other forms, and back into Redis."""

from __future__ import annotations

from ._axlog import write_axlog
from ._files import whole_or_not
from ._jsonl import write_lines
from ._sources import Choice, file_runs, partitions_in, redis_runs, scopes_in
from ._target import ImportTarget, OccupiedError

__all__ = [
    "Choice",
    "ImportTarget",
    "OccupiedError",
    "file_runs",
    "partitions_in",
    "redis_runs",
    "scopes_in",
    "whole_or_not",
    "write_axlog",
    "write_lines",
]
