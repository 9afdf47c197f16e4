"""What the user of the URL may do, asked without doing it (ACL DRYRUN)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentexchange.redis import ReplyError

from ._result import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["check_rights"]

_MISSING: Final = "0" * 40  # the hash of no script
_RULES: Final = "set the rule that agentexchange acl prints"


@dataclass(frozen=True, slots=True)
class _Role:
    """What somebody does in Redis; who may not make the first call is not meant to be one."""

    name: str
    calls: tuple[tuple[str, ...], ...]


async def check_rights(stream: RespStream, layout: Layout, scope: str) -> AsyncIterator[Finding]:
    """A user is a crew's, a bridge's, or both; and may then do all of it."""
    roles = _roles(layout, scope)
    try:
        user = (await stream.command("ACL", "WHOAMI")).decode(errors="replace")
        denied = {role: await _denied(stream, user, role) for role in roles}
    except ReplyError:
        yield warn("permissions", "the server does not let this user ask", "run doctor as an operator to check them")
        return
    meant = {role: missing for role, missing in denied.items() if role.calls[0] not in missing}
    for role, missing in meant.items():
        check = f"user {user!r} as a {role.name}"
        names = ", ".join(" ".join(call[:2]) for call in missing)
        yield fail(check, f"may not: {names}", _RULES) if missing else ok(check, "may do all it needs")
    if not meant:
        yield warn(
            "permissions", f"user {user!r} may act neither as a crew nor as a bridge", f"unless meant so, {_RULES}"
        )


async def _denied(stream: RespStream, user: str, role: _Role) -> list[tuple[str, ...]]:
    return [call for call in role.calls if await stream.command("ACL", "DRYRUN", user, *call) != b"OK"]


def _roles(layout: Layout, scope: str) -> tuple[_Role, _Role]:
    ticker = "ticker:BTCUSDT"
    channel, latest, log = layout.channel(scope, ticker), layout.latest(scope, ticker), layout.log(scope)
    crew = (
        ("SUBSCRIBE", channel),
        ("HGETALL", layout.meta),
        ("MGET", latest),
        ("TIME",),
        ("EXISTS", layout.lease(scope)),
        ("HGET", layout.seq(scope), "#id"),
        ("HGETALL", layout.status(scope)),
        ("XRANGE", log, "-", "+"),
        ("XREVRANGE", log, "+", "-"),
        ("XREAD", "STREAMS", log, "0"),
    )
    bridge = (
        ("EVALSHA", _MISSING, "1", layout.lease(scope)),
        ("SCRIPT", "LOAD", "return 1"),
        ("HSETNX", layout.meta, "version", "1"),
        ("SET", latest, ""),
        ("XADD", log, "*", "e", ""),
        ("XTRIM", log, "MINID", "0"),
        ("HSET", layout.seq(scope), ticker, "0"),
        ("PEXPIRE", layout.lease(scope), "1"),
        ("PUBLISH", channel, ""),
        ("ZADD", layout.workers, "0", "worker"),
    )
    return _Role("crew", crew), _Role("bridge", bridge)
