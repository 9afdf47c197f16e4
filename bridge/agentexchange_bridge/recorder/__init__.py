"""The recorder: the logs of Redis, read live into a recording."""

from __future__ import annotations

from ._options import RecorderOptions, RecorderStats
from ._recorder import Recorder
from ._straight import StraightRecorder

__all__ = ["Recorder", "RecorderOptions", "RecorderStats", "StraightRecorder"]
