"""A thousand clients that only want something: ``python -m bench.crowd URL CLIENTS TOPICS``.

Prints ``ready`` when all are registered, and renews until standard input ends. They share a connection, which the
bridge cannot tell: to it each is a name with messages of its own.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import cycle, islice

from agentexchange._names import Identity
from agentexchange._shared.interest import InterestKeeper
from agentexchange._shared.options import SharedOptions
from agentexchange._urls import redis_url
from agentexchange.redis import RespStream
from agentexchange_schemas import Layout, Topic, account_scope

from ._frames import symbols

KEY = "ak_live_bench"


async def main(url: str, clients: int, topics: int) -> None:
    """Keep a crowd registered."""
    layout, account, options = Layout(), account_scope(KEY), SharedOptions()
    stream = await RespStream.connect(redis_url(url))
    names = cycle(symbols())
    for _ in range(clients):
        wanted = frozenset(Topic.ticker(name) for name in islice(names, topics))
        keeper = InterestKeeper(layout, account, Identity.of(), wanted, options)
        asyncio.ensure_future(keeper.keep(stream)).add_done_callback(asyncio.Task.result)
        await asyncio.sleep(0)
    while await stream.command("ZCARD", layout.interest(account)) < clients:  # noqa: ASYNC110 - a server is asked
        await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
