"""Replaying what was recorded: out of a file, or out of the logs in Redis. `AgentExchangeWS.replay` does it.

A `Source` is where the events come from: `FileSource`, or `RedisSource` (which needs ``agentexchange[redis]``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange import _extras
from agentexchange.recording import EventName

from ._control import ReplayControl, ReplayProgress
from ._file import FileSource
from ._source import Moment, Source, moment_in

if TYPE_CHECKING:
    from ._redis import RedisSource

__all__ = ["EventName", "FileSource", "Moment", "ReplayControl", "ReplayProgress", "Source", "moment_in"]

if _extras.has_redis():  # a plain install has this name too, but asking for it says what is missing
    __all__ += ["RedisSource"]


def __getattr__(name: str) -> Any:
    if name != "RedisSource":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = _extras.redis_backed("replay._redis", name)
    return value
