"""What was: read backwards and forwards out of the logs of Redis, or out of a recording."""

from __future__ import annotations

from ._bars import chart_of
from ._choice import EventChoice
from ._events import EventList
from ._file import FileHistory
from ._history import History, LaneSpan, Page, Sample, Stretch
from ._moment import MAIN_LOG, MomentOptions, board_at
from ._notices import Told, notices_before
from ._overview import log_row
from ._redis import RedisHistory, lanes_of, raws_of, span_of, span_questions
from ._search import detail_of, rows_before
from ._timeline import TimeLines
from ._travel import TravelFeed, TravelOptions
from ._walk import Placed, walk

__all__ = [
    "MAIN_LOG",
    "EventChoice",
    "EventList",
    "FileHistory",
    "History",
    "LaneSpan",
    "MomentOptions",
    "Page",
    "Placed",
    "RedisHistory",
    "Sample",
    "Stretch",
    "TimeLines",
    "Told",
    "TravelFeed",
    "TravelOptions",
    "board_at",
    "chart_of",
    "detail_of",
    "lanes_of",
    "log_row",
    "notices_before",
    "raws_of",
    "rows_before",
    "span_of",
    "span_questions",
    "walk",
]
