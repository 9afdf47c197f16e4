"""Least-privilege rules for Redis's users: a bridge, a crew, and whoever runs doctor. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["PASSWORD_PLACEHOLDER", "acl_rules"]

PASSWORD_PLACEHOLDER: Final = "PASSWORD"  # noqa: S105 - what an operator replaces

_SESSION: Final = "ping select client|setname"
_BRIDGE: Final = (
    "evalsha script|load get set del exists type time pttl pexpire hget hmget hgetall hset hsetnx hexists hstrlen "
    "sadd srem mget smembers xadd xtrim xinfo zadd zrange zrem zremrangebyscore publish spublish subscribe unsubscribe"
)
_CREW: Final = (
    "get mget time exists hget hmget hgetall hkeys smembers xread xrange xrevrange "
    "subscribe unsubscribe ssubscribe sunsubscribe"
)
_INTEREST: Final = "multi exec hset zadd zrem zremrangebyscore pexpire del"
_DOCTOR: Final = "get hgetall info time config|get acl|whoami acl|dryrun"


def acl_rules(prefix: str, account: str) -> dict[str, str]:
    """The rules by user name, as ACL files and ``ACL SETUSER`` take them.

    Nobody gets SCAN or KEYS, which ignore key patterns. A crew reads the market and ``account``, its own scope, and
    writes its own interest: what stands in parentheses holds for these commands alone.
    """
    names = [f"{prefix}:{{m*}}:*", f"{prefix}:{{{account}}}:*"]
    readable = " ".join(f"%R~{name}" for name in (f"{prefix}:meta", *names))
    channels = " ".join(f"&{name}" for name in names)
    return {
        "bridge": _rule(f"~{prefix}:* &{prefix}:*", _BRIDGE),
        "crew": f"{_rule(f'{readable} {channels}', _CREW)} {_interest(prefix, account)}",
        "doctor": _rule(f"%R~{prefix}:*", _DOCTOR),
    }


def _interest(prefix: str, account: str) -> str:
    names = f"~{prefix}:interest:{account} ~{prefix}:interest:{account}:*"
    return f"({names} {_allowed(_INTEREST)}) (&{prefix}:control +publish)"


def _rule(names: str, commands: str) -> str:
    allowed = _allowed(f"{_SESSION} {commands}")
    return f"on >{PASSWORD_PLACEHOLDER} resetkeys resetchannels {names} -@all {allowed}"


def _allowed(commands: str) -> str:
    return " ".join(f"+{command}" for command in commands.split())
