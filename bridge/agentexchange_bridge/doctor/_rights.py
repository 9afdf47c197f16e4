"""What the user of the URL may do, asked without doing it (ACL DRYRUN)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange.redis import ReplyError

from ._result import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["check_rights"]

_MISSING: Final = "0" * 40  # the hash of no script


async def check_rights(stream: RespStream, layout: Layout, scope: str) -> AsyncIterator[Finding]:
    """Reading as a crew does, writing as a bridge does."""
    try:
        user = (await stream.command("ACL", "WHOAMI")).decode(errors="replace")
        denied = {role: await _denied(stream, user, calls) for role, calls in _calls(layout, scope).items()}
    except ReplyError:
        yield warn("permissions", "the server does not let this user ask", "run doctor as an operator to check them")
        return
    yield _judge(f"user {user!r} as a crew", denied["read"], fail, "grant them: see docs/operations.md")
    fix = "a crew needs none of them; a bridge does: see docs/operations.md"
    yield _judge(f"user {user!r} as a bridge", denied["write"], warn, fix)


def _judge(check: str, denied: list[str], judge: Callable[[str, str, str], Finding], fix: str) -> Finding:
    if not denied:
        return ok(check, "may do all it needs")
    return judge(check, f"may not: {', '.join(denied)}", fix)


async def _denied(stream: RespStream, user: str, calls: list[tuple[str, ...]]) -> list[str]:
    answers = {call: await stream.command("ACL", "DRYRUN", user, *call) for call in calls}
    return [" ".join(call[:2]) for call, answer in answers.items() if answer != b"OK"]


def _calls(layout: Layout, scope: str) -> dict[str, list[tuple[str, ...]]]:
    ticker = "ticker:BTCUSDT"
    return {
        "read": [
            ("HGETALL", layout.meta),
            ("MGET", layout.latest(scope, ticker)),
            ("HGETALL", layout.status(scope)),
            ("XRANGE", layout.log(scope), "-", "+"),
            ("XREAD", "STREAMS", layout.log(scope), "0"),
            ("SUBSCRIBE", layout.channel(scope, ticker)),
        ],
        "write": [
            ("SCRIPT", "LOAD", "return 1"),
            ("EVALSHA", _MISSING, "1", layout.lease(scope)),
            ("SET", layout.latest(scope, ticker), ""),
            ("XADD", layout.log(scope), "*", "e", ""),
            ("XTRIM", layout.log(scope), "MINID", "0"),
            ("HSET", layout.seq(scope), ticker, "0"),
            ("PEXPIRE", layout.lease(scope), "1"),
            ("PUBLISH", layout.channel(scope, ticker), ""),
            ("ZADD", layout.workers, "0", "worker"),
        ],
    }
