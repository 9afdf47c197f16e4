"""Connections to Redis, shared with the bridge. Needs the extra ``agentexchange[redis]``."""

from __future__ import annotations

from ._clients import async_client, public_errors, sync_client
from ._errors import LinkClosedError, NotRedisError, RedisLinkError, ReplyError, Verdict, final_error, judge
from ._pack import pack
from ._stream import MAX_REPLY_BYTES, RespStream, StreamOptions

__all__ = [
    "MAX_REPLY_BYTES",
    "LinkClosedError",
    "NotRedisError",
    "RedisLinkError",
    "ReplyError",
    "RespStream",
    "StreamOptions",
    "Verdict",
    "async_client",
    "final_error",
    "judge",
    "pack",
    "public_errors",
    "sync_client",
]
