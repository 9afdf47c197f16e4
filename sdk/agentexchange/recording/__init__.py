"""Recordings: event logs as files, ``.axlog``. `docs/recording-format.md` describes the bytes.

`Recording` reads one, `RecordingWriter` writes one, `RotatingWriter` writes one after the other.
"""

from __future__ import annotations

from agentexchange.errors import RecordingError

from ._block import Lane
from ._moments import moment_us
from ._peek import Place, place_of, received_of, step_of, topic_of
from ._scan import Cut
from ._topics import TopicChoice
from .reader import LaneRun, Recorded, Recording
from .rotation import RotatingWriter, RotationOptions
from .writer import Fsync, RecordingWriter, WriterOptions

__all__ = [
    "Cut",
    "Fsync",
    "Lane",
    "LaneRun",
    "Place",
    "Recorded",
    "Recording",
    "RecordingError",
    "RecordingWriter",
    "RotatingWriter",
    "RotationOptions",
    "TopicChoice",
    "WriterOptions",
    "moment_us",
    "place_of",
    "received_of",
    "step_of",
    "topic_of",
]
