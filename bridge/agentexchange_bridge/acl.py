"""Least-privilege rules for Redis's users: the bridge, a crew, and the operator. Pure.

A rule is read by ACL files and by ``ACL SETUSER`` of Redis 7 and Valkey. What stands in parentheses is a selector: a
command runs if the part outside allows all of it, or one selector does. So a member may acknowledge in a log to which
nobody but the bridge may add. A script needs a selector that allows EVALSHA on all its keys, and for each
command inside one that allows this command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Layout
from agentexchange_schemas.layout import checked_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["PASSWORD_PLACEHOLDER", "bridge_rule", "crew_rule", "operator_rule"]

PASSWORD_PLACEHOLDER: Final = "PASSWORD"  # noqa: S105 - what an operator replaces

# No SCAN, KEYS or RANDOMKEY for anybody: they ignore key patterns.
_SESSION: Final = "ping select client|setname"
_READ: Final = (
    "get mget time exists pttl hget hmget hgetall hkeys smembers xread xrange xrevrange "
    "subscribe unsubscribe ssubscribe sunsubscribe"
)
_BRIDGE: Final = (
    "get mget set del exists type pttl pexpire hget hmget hgetall hkeys hset hsetnx hexists hstrlen sadd srem "
    "smembers xadd xtrim xinfo|stream xrange xrevrange zadd zrem zrange zrangebyscore zremrangebyscore "
    "time script|load evalsha publish spublish"
)
_OPERATOR: Final = (
    "type hstrlen xlen xinfo xpending zrange zrangebyscore memory|usage info config|get acl|whoami acl|dryrun"
)

_INTEREST: Final = "multi exec hset del pexpire zadd zrem zremrangebyscore"
_LOG_OF_A_GROUP: Final = "xinfo|groups xinfo|consumers xpending xgroup|create xgroup|delconsumer xreadgroup xack xclaim"
_LETTERS: Final = "eval xadd xdel"
_STATE: Final = "set del pexpire hset"


def bridge_rule(prefix: str) -> str:
    """For the bridge's workers: they own every scope, and read what crews want.

    Raises:
        LayoutError: a wrong prefix.
    """
    layout = Layout(prefix)
    scopes = [f"{prefix}:{{m*}}:*", f"{prefix}:{{a-*}}:*"]
    keys = [*scopes, layout.meta, layout.workers, layout.interests]
    return _rule(
        _names(keys=keys, read=[f"{prefix}:interest:*"], channels=scopes),
        _BRIDGE,
        _selector(_names(channels=[layout.control]), "subscribe unsubscribe"),
    )


def crew_rule(
    prefix: str, accounts: Sequence[str], *, groups: Iterable[str] = (), positions: Iterable[str] = ()
) -> str:
    """For the programs of one crew: the market and ``accounts`` to read; interest, groups and positions to write.

    Args:
        prefix: of all names.
        accounts: scopes, ``a-<32 hex>``.
        groups: names of groups in market logs too. Who has one may acknowledge for every group in these logs.
        positions: names of durable positions in market scopes too.

    Raises:
        LayoutError: a name that is none.
    """
    layout = Layout(prefix)
    own, market = [layout.base(account) for account in accounts], f"{prefix}:{{m*}}:"
    scopes = [f"{base}*" for base in (market, *own)]
    interest = [name for account in accounts for name in (layout.interest(account), f"{layout.interest(account)}:*")]
    groups = [checked_name(name, "group") for name in groups]
    positions = [checked_name(name, "resume") for name in positions]
    selectors = [
        _selector(_names(keys=interest), _INTEREST),
        _selector(_names(channels=[layout.control]), "publish"),
        *_group_selectors([(base, ("log",), "*") for base in own]),
        *_group_selectors([(market, ("log", "log:candles"), name) for name in groups]),
        *_position_selectors([*(f"{base}pos:*" for base in own), *_with_holders(market, positions)]),
    ]
    return _rule(_names(read=[layout.meta, *scopes], channels=scopes), f"{_READ} script|load", *selectors)


def operator_rule(prefix: str) -> str:
    """For whoever inspects, with any command: everything to read, dead letters to retry or drop.

    What ``tail`` shows is wanted of the bridge, as any client's topics are, so interest may be written, too.

    Raises:
        LayoutError: a wrong prefix.
    """
    layout = Layout(prefix)
    every, letters = f"{prefix}:*", [f"{prefix}:{{*}}:{part}:*" for part in ("dead", "log:retry", "log:candles:retry")]
    return _rule(
        _names(read=[every], channels=[every]),
        f"{_READ} {_OPERATOR}",
        _selector(_names(keys=letters), _LETTERS),
        _selector(_names(keys=[f"{prefix}:interest:a-*"]), _INTEREST),
        _selector(_names(channels=[layout.control]), "publish"),
    )


def _group_selectors(places: Iterable[tuple[str, tuple[str, ...], str]]) -> list[str]:
    """For each place, as what its names begin with, its logs and the groups' names."""
    logs, letters, state = [], [], []
    for base, names, group in places:
        logs += [f"{base}{name}" for name in names]
        letters += [f"{base}{name}:retry:{group}" for name in names] + [f"{base}dead:{group}"]
        state += [f"{base}group:{group}", *([] if group == "*" else [f"{base}group:{group}:marks"])]
    logs = list(dict.fromkeys(logs))
    if not logs:
        return []
    return [
        _selector(_names(keys=[*logs, *letters, *state]), "evalsha"),
        _selector(_names(keys=[*logs, *letters]), _LOG_OF_A_GROUP),
        _selector(_names(keys=letters), _LETTERS),
        _selector(_names(keys=state), _STATE),
    ]


def _position_selectors(names: list[str]) -> list[str]:
    return [_selector(_names(keys=names), f"evalsha {_STATE}")] if names else []


def _with_holders(base: str, positions: Iterable[str]) -> list[str]:
    return [f"{base}pos:{name}{part}" for name in positions for part in ("", ":holder")]


def _names(*, keys: Iterable[str] = (), read: Iterable[str] = (), channels: Iterable[str] = ()) -> str:
    """Patterns of keys to use freely and to read, and of channels."""
    return " ".join([*(f"~{name}" for name in keys), *(f"%R~{name}" for name in read), *(f"&{c}" for c in channels)])


def _selector(names: str, commands: str) -> str:
    return f"({names} {_allowed(commands)})"


def _rule(names: str, commands: str, *selectors: str) -> str:
    return " ".join([f"reset on >{PASSWORD_PLACEHOLDER} {names} {_allowed(f'{_SESSION} {commands}')}", *selectors])


def _allowed(commands: str) -> str:
    return " ".join(f"+{command}" for command in commands.split())
