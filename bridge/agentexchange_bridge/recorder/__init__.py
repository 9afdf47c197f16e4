"""The recorder: the logs of Redis, read live into a recording."""

from __future__ import annotations

from ._options import RecorderOptions, RecorderStats
from ._recorder import Recorder
from ._tell import sentence_of
from ._watch import LogWatch

__all__ = ["LogWatch", "Recorder", "RecorderOptions", "RecorderStats", "sentence_of"]
