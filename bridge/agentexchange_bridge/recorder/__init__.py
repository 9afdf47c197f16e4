"""The recorder: the logs of Redis, read live into a recording."""

from __future__ import annotations

from ._options import RecorderOptions, RecorderStats
from ._recorder import Recorder
from ._straight import StraightRecorder
from ._tell import sentences_of
from ._watch import Hole, LogWatch

__all__ = ["Hole", "LogWatch", "Recorder", "RecorderOptions", "RecorderStats", "StraightRecorder", "sentences_of"]
