"""``agentexchange tail``: prints events as they arrive, from the platform or from Redis."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._commands import require
from ._errors import CommandError, UsageError
from ._loop import run_stoppable

if TYPE_CHECKING:
    import asyncio

    from pydantic import SecretStr

    from agentexchange import AgentExchangeWS
    from agentexchange_schemas import Topic

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Events go to stdout, changes of the feed's state to stderr. The API key comes from AGENTEXCHANGE_API_KEY or
--api-key-file; market data read from Redis needs none.

examples:
  agentexchange tail ticker:BTCUSDT candles:BTCUSDT:1m
  agentexchange tail --url redis://localhost:6379/0 ticker:all --json --count 1000 > ticks.jsonl
  agentexchange tail --url redis://localhost:6379/0 orders portfolio"""

_NO_KEY: Final = "tail-without-key"  # market data in Redis is nobody's account


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "topics", nargs="+", metavar="TOPIC",
        help="ticker:SYMBOL, ticker:all, candles:SYMBOL:INTERVAL, orders or portfolio",
    )  # fmt: skip
    source = parser.add_argument_group("source")
    source.add_argument(
        "--url", metavar="URL",
        help="ws:// or wss:// (the platform), redis://, rediss:// or unix:// (shared); "
        "default: AGENTEXCHANGE_WS_URL, or ws://localhost:8000",
    )  # fmt: skip
    source.add_argument("--api-key-file", type=Path, metavar="FILE", help="file that holds the API key")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object per event, with its metadata")
    output.add_argument("--count", type=_count, metavar="N", help="stop after N events")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print until ``--count`` is reached or a signal comes.

    Raises:
        UsageError: a wrong topic, URL or key.
        CommandError: the platform refuses the key, or the address cannot be what is meant.
    """
    from agentexchange import AgentExchangeWS
    from agentexchange_schemas import Topic

    from ._print import EventPrinter

    url = args.url or os.environ.get("AGENTEXCHANGE_WS_URL") or "ws://localhost:8000"
    try:
        topics = [Topic.parse(text) for text in args.topics]
        client = AgentExchangeWS(_key(url, topics, args.api_key_file), url, client_name="tail")
    except ValueError as exc:
        raise UsageError(f"tail: {exc}") from None
    printer = EventPrinter(as_json=args.json, count=args.count, done=client.stop)
    for topic in topics:
        client.subscribe(topic, printer.event)
    client.on_status()(printer.status)
    code = run_stoppable(lambda stop: _listen(client, stop))
    printer.raise_failure()
    return code


def _key(url: str, topics: list[Topic], file: Path | None) -> SecretStr | str:
    """The key; where none is needed, one that nobody has."""
    from agentexchange._urls import RedisUrl, parse_base_url
    from agentexchange_bridge.keys import KEY_VARIABLE, find_api_key

    shared = isinstance(parse_base_url(url), RedisUrl)
    if shared:
        require(("redis", "hiredis"), extra="redis", purpose="a redis:// URL")
    key = find_api_key(file)
    if key is not None:
        return key
    if shared and not any(topic.is_private for topic in topics):
        return _NO_KEY
    raise UsageError(f"tail: there is no API key: set {KEY_VARIABLE}, or name a file with --api-key-file")


async def _listen(client: AgentExchangeWS, stop: asyncio.Event) -> int:
    import asyncio

    from agentexchange import AgentExchangeError

    async def end() -> None:
        await stop.wait()
        client.stop()

    stopper = asyncio.create_task(end(), name="stop")
    try:
        await client.connect()
    except AgentExchangeError as exc:
        raise CommandError(f"tail: {exc}") from None
    finally:
        stopper.cancel()
    return 0
