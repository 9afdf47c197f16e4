"""What the server says of the logs themselves: entries, memory, oldest and newest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange._urls import RedisUrl
    from agentexchange.redis import RespStream

__all__ = ["logs_of"]


async def logs_of(url: RedisUrl, scopes: Sequence[str]) -> list[dict[str, Any]]:
    """Each log of ``scopes`` that holds something; what this user has no right to ask for is None.

    Raises:
        ConnectionError: Redis does not answer, or holds another layout.
    """
    from agentexchange._shared.commands import Commands
    from agentexchange.redis import RedisLinkError, RespStream, final_error

    try:
        stream = await RespStream.connect(url, name="agentexchange-stats")
        try:
            layout = await Commands(stream, url.prefix).layout()
            if layout is None:
                return []
            keys = [(scope, layout.log(scope)) for scope in scopes]
            keys += [(scope, layout.candle_log(scope)) for scope in scopes if scope.startswith("m")]
            found = [await _look(stream, scope, key) for scope, key in keys]
        finally:
            stream.close()
            await stream.wait_closed()
    except RedisLinkError as exc:
        raise final_error(exc, url) from exc
    return [log for log in found if log["oldest_us"] is not None]


async def _look(stream: RespStream, scope: str, key: str) -> dict[str, Any]:
    from agentexchange._shared.commands import place_of

    first = await stream.command("XRANGE", key, "-", "+", "COUNT", 1)
    last = await stream.command("XREVRANGE", key, "+", "-", "COUNT", 1)
    entries, size = await _allowed(stream, "XLEN", key), await _allowed(stream, "MEMORY", "USAGE", key)
    return {
        "scope": scope,
        "log": key,
        "entries": entries,
        "memory_bytes": size,
        "bytes_per_entry": size / entries if size and entries else None,
        "oldest_us": place_of(first[0][0]) if first else None,
        "newest_us": place_of(last[0][0]) if last else None,
    }


async def _allowed(stream: RespStream, *command: str) -> int | None:
    """The number that is answered; None where this user may not ask."""
    from agentexchange.redis import ReplyError

    try:
        answer = await stream.command(*command)
    except ReplyError as exc:
        if exc.code != "NOPERM":
            raise
        return None
    return answer if isinstance(answer, int) else None
