"""Which programs listen, as they have registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange.redis import ReplyError
from agentexchange_bridge.inspector.views import ClientRow
from agentexchange_bridge.interest import find_accounts, find_clients, read_clients

if TYPE_CHECKING:
    from agentexchange.redis import RespStream
    from agentexchange_bridge.interest import Client, Found
    from agentexchange_schemas import Layout

__all__ = ["find_listeners"]

_ACCOUNTS: Final = 100
_CLIENTS: Final = 500
_BATCH: Final = 50


async def find_listeners(stream: RespStream, layout: Layout, now_us: int) -> tuple[ClientRow, ...]:
    """At most 500 of them, sorted; none where the server does not let this user read that.

    Raises:
        LinkClosedError: the connection is gone.
    """
    try:
        clients = await _clients(stream, layout)
        found: list[Found] = []
        for at in range(0, len(clients), _BATCH):
            found += await read_clients(stream, layout, clients[at : at + _BATCH])
    except ReplyError:
        return ()
    rows = [_row(one, now_us) for one in found if one.interest is not None]
    return tuple(sorted(rows, key=lambda row: (row.account, row.name, row.client)))


async def _clients(stream: RespStream, layout: Layout) -> list[Client]:
    clients: list[Client] = []
    for account in await find_accounts(stream, layout, _ACCOUNTS):
        if len(clients) < _CLIENTS:
            clients += await find_clients(stream, layout, account, _CLIENTS - len(clients))
    return clients


def _row(found: Found, now_us: int) -> ClientRow:
    interest = found.interest
    assert interest is not None  # noqa: S101 - only such are shown
    topics = tuple(sorted(map(str, interest.topics)))
    expires_us = now_us + round(found.left_s * 1_000_000)
    return ClientRow(found.client.account, found.client.name, interest.name, interest.host, topics, expires_us)
