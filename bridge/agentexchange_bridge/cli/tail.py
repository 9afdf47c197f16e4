"""``agentexchange tail``: prints events, as they arrive or of the past, from the platform, Redis or a recording."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._arguments import count
from ._commands import require
from ._errors import CommandError, UsageError
from ._loop import run_stoppable
from ._recordings import file_errors, scopes_of
from ._shapes import FORMATS, KINDS, shape_of
from ._sources import account_of, files_of, recording_source, shared_source
from ._wanted import Wanted

if TYPE_CHECKING:
    import argparse
    import asyncio
    from collections.abc import Callable, Sequence

    from pydantic import SecretStr

    from agentexchange import AgentExchangeWS
    from agentexchange._urls import RedisUrl, UpstreamUrl
    from agentexchange_bridge.where import Where
    from agentexchange_schemas import Topic

    from ._print import EventPrinter

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Without --since it prints what arrives, from the platform or from Redis. With --since it prints what the logs in Redis
hold from there on, and with --follow goes on with what comes, without a hole and without a double. A recording is
printed from its beginning, or from --since on ("5m" counts from its end there), and with --follow goes on with what its
recorder writes, over rotated files too, until that closes it.

Without topics and kinds it prints every ticker and the state of the feed; with an API key orders and portfolio; of logs
and recordings closed candles, too. The key comes from AGENTEXCHANGE_API_KEY or --api-key-file; market data in Redis
needs none, nor does a recording.

--where takes comparisons of fields (= != < <= > >=, and ~ for "contains"), joined by and, or, not and parentheses; text
in quotes; topic, kind and seq are had, too.

examples:
  agentexchange tail ticker:BTCUSDT candles:BTCUSDT:1m
  agentexchange tail --url redis://localhost:6379/0 ticker:all --json --count 1000 > ticks.jsonl
  agentexchange tail --url redis://localhost:6379/0 ticker:all --where "price > 65000 and symbol ~ 'BTC'"
  agentexchange tail --url redis://localhost:6379/0 --since 5m --follow --kind orders --kind status
  agentexchange tail day.axlog --since ticker:BTCUSDT@1200 --format csv > day.csv
  agentexchange tail day.axlog --since now --follow --where "symbol = 'BTCUSDT'\""""

_NO_KEY: Final = "tail-without-key"  # market data in Redis is nobody's account
_NAMES: Final = ("ticker:", "candles:")
_WHOLE_NAMES: Final = ("orders", "portfolio")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "places", nargs="*", metavar="TOPIC|FILE",
        help="ticker:SYMBOL, ticker:all, candles:SYMBOL:INTERVAL, orders or portfolio; or a recording",
    )  # fmt: skip
    source = parser.add_argument_group("source")
    source.add_argument(
        "--url", metavar="URL",
        help="ws:// or wss:// (the platform), redis://, rediss:// or unix:// (shared), file:// (a recording); "
        "default: AGENTEXCHANGE_WS_URL, or ws://localhost:8000",
    )  # fmt: skip
    source.add_argument("--api-key-file", type=Path, metavar="FILE", help="file that holds the API key")
    which = parser.add_argument_group("which events")
    which.add_argument("--topic", action="append", default=[], metavar="TOPIC", help="as TOPIC; again for more")
    which.add_argument(
        "--kind", action="append", default=[], choices=KINDS,
        help="only of this kind, again for more; status: what is said about the feed",
    )  # fmt: skip
    which.add_argument(
        "--scope", action="append", metavar="SCOPE",
        help="of the past, only this scope: m0, m1, … or a-… (an account, of which no key is needed then)",
    )  # fmt: skip
    which.add_argument("--where", metavar="CONDITION", help="such as: price > 65000 and symbol = 'BTCUSDT'")
    which.add_argument(
        "--since", metavar="MOMENT",
        help="5m, a time, a log id, or an event as ticker:BTCUSDT@123: from there on, out of the logs",
    )  # fmt: skip
    which.add_argument(
        "-f", "--follow", action="store_true", help="after --since, or a recording, go on with what comes"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=FORMATS, help="default: table")
    output.add_argument("--json", action="store_true", help="short for --format jsonl")
    output.add_argument("--count", type=count, metavar="N", help="stop after N events")


def run(args: argparse.Namespace) -> int:
    """Print until ``--count`` is reached, the past is over or a signal comes.

    Raises:
        UsageError: a wrong topic, URL, key, condition or moment.
        CommandError: the platform refuses the key, the address cannot be what is meant, or a file cannot be read.
    """
    named = [place for place in args.places if _is_file(place)]
    topics = [*(place for place in args.places if place not in named), *args.topic]
    wanted, shape = _wanted(args, topics), _format(args)
    text = args.url or (None if named else os.environ.get("AGENTEXCHANGE_WS_URL") or "ws://localhost:8000")
    files = files_of([Path(name) for name in named], text, "tail")
    if files or text is None:
        return _recording(args, files, wanted, shape)
    url = _url(text)
    if args.since is not None:
        return _logs(args, url, wanted, shape)
    return _live(args, text, url, wanted, shape)


def _is_file(place: str) -> bool:
    if place.startswith(_NAMES) or place in _WHOLE_NAMES:
        return False
    return place.endswith(".axlog") or Path(place).is_file()


def _wanted(args: argparse.Namespace, topics: Sequence[str]) -> Wanted:
    from agentexchange_schemas import Topic

    try:
        return Wanted(
            tuple(map(Topic.parse, topics)),
            frozenset(args.kind),
            _where(args.where),
            scopes_of(args.scope, "tail"),
        )
    except ValueError as exc:
        raise UsageError(f"tail: {exc}") from None


def _where(text: str | None) -> Where | None:
    from agentexchange_bridge.where import Where

    if text is None:
        return None
    try:
        return Where.parse(text)
    except ValueError as exc:
        raise ValueError(f"--where: {exc}") from None


def _format(args: argparse.Namespace) -> str:
    if args.json and args.format not in (None, "jsonl"):
        raise UsageError(f"tail: --json and --format {args.format} exclude each other")
    return "jsonl" if args.json else args.format or "table"


def _printer(
    args: argparse.Namespace, wanted: Wanted, shape: str, done: Callable[[], None], *, dates: bool = True
) -> EventPrinter:
    from ._print import EventPrinter

    return EventPrinter(
        shape=shape_of(shape, wanted.all_kinds, dates=dates), wanted=wanted, count=args.count, done=done
    )


# The past


def _recording(args: argparse.Namespace, files: list[Path], wanted: Wanted, shape: str) -> int:
    source = recording_source(files, _tell, grows=args.follow)

    async def command(stop: asyncio.Event) -> int:
        from ._past import follow_recording, print_past

        printer = _printer(args, wanted, shape, stop.set)
        await (follow_recording if args.follow else print_past)(source, wanted, args.since, printer, stop)
        return 0

    with file_errors("tail", files[0]):
        return run_stoppable(command)


def _logs(args: argparse.Namespace, url: RedisUrl | UpstreamUrl, wanted: Wanted, shape: str) -> int:
    from agentexchange._urls import RedisUrl

    if not isinstance(url, RedisUrl):
        raise UsageError("tail: --since needs Redis or a recording: the platform keeps no log")
    require(("redis", "hiredis"), extra="redis", purpose="a redis:// URL")
    account = account_of(args.api_key_file, "tail")
    if account is None and wanted.scopes is None and wanted.is_of_an_account:
        raise _no_key()
    source = shared_source(url, wanted.scopes, account, _tell)

    async def command(stop: asyncio.Event) -> int:
        from ._past import follow, print_past

        printer = _printer(args, wanted, shape, stop.set)
        if args.follow:
            await follow(
                source, url, account, args.since, wanted=wanted, printer=printer, stop=stop, tell=_tell
            )  # fmt: skip
        else:
            await print_past(source, wanted, args.since, printer, stop)
        return 0

    with file_errors("tail", Path("stdout")):
        return run_stoppable(command)


# What arrives


def _live(args: argparse.Namespace, text: str, url: RedisUrl | UpstreamUrl, wanted: Wanted, shape: str) -> int:
    from agentexchange import AgentExchangeWS

    if wanted.scopes is not None:
        raise UsageError("tail: --scope is for the past: give --since, or a recording")
    try:
        topics, key = _subscriptions(wanted, url, args.api_key_file)
        client = AgentExchangeWS(key, text, client_name="tail")
    except ValueError as exc:
        raise UsageError(f"tail: {exc}") from None
    printer = _printer(args, wanted, shape, client.stop, dates=False)
    for topic in topics:
        client.subscribe(topic, printer.event)
    client.on_status()(printer.status)
    code = run_stoppable(lambda stop: _listen(client, stop))
    printer.raise_failure()
    return code


def _url(text: str) -> RedisUrl | UpstreamUrl:
    from agentexchange._urls import FileUrl, parse_base_url

    try:
        url = parse_base_url(text)
    except ValueError as exc:
        raise UsageError(f"tail: {exc}") from None
    assert not isinstance(url, FileUrl)  # noqa: S101 - a recording was found to be one
    return url


def _subscriptions(
    wanted: Wanted, url: RedisUrl | UpstreamUrl, file: Path | None
) -> tuple[Sequence[Topic], SecretStr | str]:
    """What to subscribe, and with which key; where none is needed, with one that nobody has."""
    from agentexchange._urls import RedisUrl
    from agentexchange_bridge.keys import find_api_key

    if isinstance(url, RedisUrl):
        require(("redis", "hiredis"), extra="redis", purpose="a redis:// URL")
    key = find_api_key(file)
    topics = wanted.subscriptions(has_key=key is not None)
    if key is not None:
        return topics, key
    if isinstance(url, RedisUrl) and not any(topic.is_private for topic in topics):
        return topics, _NO_KEY
    raise _no_key()


def _no_key() -> UsageError:
    from agentexchange_bridge.keys import KEY_VARIABLE

    return UsageError(f"tail: there is no API key: set {KEY_VARIABLE}, or name a file with --api-key-file")


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


def _tell(sentence: str) -> None:
    print(f"tail: {sentence}", file=sys.stderr, flush=True)
