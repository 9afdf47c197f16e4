"""Recordings: event logs as files, ``.axlog``. `docs/recording-format.md` describes the bytes.

`Recording` reads one, `Growing` reads on while it is written, `RecordingWriter` writes one, `RotatingWriter` one after
the other.
"""

from __future__ import annotations

from agentexchange.errors import RecordingError

from ._block import Lane
from ._directory import BlockInfo
from ._holes import Hole, LogWatch, notice_of, sentence_of, sentences_of
from ._moments import EventName, moment_of, moment_us
from ._peek import Place, place_of, received_of, step_of, topic_of
from ._scan import Cut
from ._several import runs_of
from ._topics import TopicChoice
from .growing import Growing
from .reader import LaneRun, Recorded, Recording
from .rotation import RotatingWriter, RotationOptions
from .writer import Fsync, RecordingWriter, WriterOptions

__all__ = [
    "BlockInfo",
    "Cut",
    "EventName",
    "Fsync",
    "Growing",
    "Hole",
    "Lane",
    "LaneRun",
    "LogWatch",
    "Place",
    "Recorded",
    "Recording",
    "RecordingError",
    "RecordingWriter",
    "RotatingWriter",
    "RotationOptions",
    "TopicChoice",
    "WriterOptions",
    "moment_of",
    "moment_us",
    "notice_of",
    "place_of",
    "received_of",
    "runs_of",
    "sentence_of",
    "sentences_of",
    "step_of",
    "topic_of",
]
