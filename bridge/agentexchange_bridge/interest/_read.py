"""Reading interest out of Redis: whole, bounded, and without trust in who wrote it.

A hash's values are measured before any is fetched: one of 100 MB costs a number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from agentexchange.redis import ReplyError, pack
from agentexchange_schemas import Interest, InterestError, LayoutError
from agentexchange_schemas.interest import FIELD_BYTES
from agentexchange_schemas.layout import checked_name

from ._found import Client, Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["find_accounts", "find_clients", "read_clients"]

_is_account = re.compile(rb"a-[0-9a-f]{32}").fullmatch
_WRONG_TYPE: Final = "WRONGTYPE"
_NO_END: Final = -1  # of PTTL: a key that never expires
_LENGTHS: Final = len(FIELD_BYTES)


async def find_accounts(stream: RespStream, layout: Layout, most: int) -> list[str]:
    """Accounts that have had clients, the last seen first.

    Raises:
        RedisLinkError: Redis is away, or refuses; so does each function here.
    """
    members = await stream.command("ZRANGE", layout.interests, 0, most - 1, "REV")
    return [member.decode() for member in members if _is_account(member)]


async def find_clients(stream: RespStream, layout: Layout, account: str, most: int) -> list[Client]:
    """An account's clients, those first that live longest; some may be gone. Names that none can have are left out."""
    reply = (await stream.send(pack("ZRANGE", layout.interest(account), 0, most - 1, "REV")))[0]
    names = [member.decode("ascii", errors="replace") for member in _unless_wrong_type(reply) or []]
    return [Client(account, name) for name in names if _is_name(name)]


async def read_clients(stream: RespStream, layout: Layout, clients: Sequence[Client]) -> list[Found]:
    """Read their hashes; two round trips."""
    keys = [layout.interest(client.account, client.name) for client in clients]
    packed = [pack("HSTRLEN", key, field) for key in keys for field in FIELD_BYTES]
    packed += [pack("PTTL", key) for key in keys]
    replies = await stream.send(b"".join(packed), replies=len(packed))
    lefts = replies[_LENGTHS * len(keys) :]
    lengths = [replies[at : at + _LENGTHS] for at in range(0, _LENGTHS * len(keys), _LENGTHS)]
    found = [_measured(client, *both) for client, both in zip(clients, zip(lengths, lefts, strict=True), strict=True)]
    fitting = [at for at, one in enumerate(found) if one.left_s and one.fault is None]
    if fitting:
        packed = [pack("HMGET", keys[at], *FIELD_BYTES) for at in fitting]
        values = await stream.send(b"".join(packed), replies=len(packed))
        for at, fields in zip(fitting, values, strict=True):
            found[at] = _decoded(found[at], fields)
    return found


def _is_name(name: str) -> bool:
    try:
        checked_name(name, "client")
    except LayoutError:
        return False
    return True


def _measured(client: Client, lengths: list[Any], left_ms: Any) -> Found:
    """Whether its fields may be fetched: then it has a time left, and no fault."""
    if isinstance(left_ms, ReplyError):
        raise left_ms
    for (field, most), length in zip(FIELD_BYTES.items(), lengths, strict=True):
        if _unless_wrong_type(length) is None:
            return Found(client, fault="its key is no hash")
        if length > most:
            return Found(client, fault=f"{field} has {length} bytes: {most} at most")
    if left_ms == _NO_END:
        return Found(client, fault="its hash has no time to live")
    return Found(client, left_s=max(0, left_ms) / 1000)


def _decoded(found: Found, fields: Any) -> Found:
    values = _unless_wrong_type(fields)
    if values is None or not any(value is not None for value in values):
        return Found(found.client)  # it went between the two reads
    try:
        interest = Interest.from_fields(dict(zip(FIELD_BYTES, values, strict=True)))
    except InterestError as exc:
        return Found(found.client, fault=str(exc))
    return Found(found.client, interest, min(found.left_s, interest.ttl_ms / 1000))


def _unless_wrong_type(reply: Any) -> Any:
    """The reply; None where the key is of another type.

    Raises:
        ReplyError: the server refuses for another reason.
    """
    if not isinstance(reply, ReplyError):
        return reply
    if reply.code != _WRONG_TYPE:
        raise reply
    return None
