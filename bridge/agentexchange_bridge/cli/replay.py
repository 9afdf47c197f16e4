"""``agentexchange replay``: a recording played as the platform itself, to clients in any language."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ._errors import CommandError, UsageError
from ._loop import run_stoppable
from ._progress import shown
from ._recordings import file_errors

if TYPE_CHECKING:
    import asyncio

    from pydantic import SecretStr

    from agentexchange.serving import RecordedExchange

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Point any client of the platform at the URL printed, with any key (ak_...): it gets the recorded market data. Orders and
portfolio go to the recorded account's own key, or to the key in AGENTEXCHANGE_API_KEY or --api-key-file. Each
connection has a position of its own, which begins with its first subscriptions.

examples:
  agentexchange replay day.axlog --serve 8000
  agentexchange replay day.axlog --serve 8000 --speed 10 --from 2026-11-22T14:00:00Z --to 2026-11-22T14:05:00Z
  agentexchange replay day.axlog --serve 8000 --speed 0 --shared-clock --dialect page"""

_SHOWN: Final = 10  # characters of an account


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the recording; several are played as one")
    where = parser.add_argument_group("where")
    where.add_argument("--serve", type=_port, metavar="PORT", help="listen there, 0 for a free port")
    where.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    where.add_argument(
        "--dialect",
        choices=("live", "page"),
        default="live",
        help="behave as the live platform or as its documentation page (default: %(default)s)",
    )
    when = parser.add_argument_group(
        'when (a time such as 2026-11-22T14:03:00Z, "10m ago", a log id, or an event: ticker:BTCUSDT@123)'
    )
    when.add_argument("--from", dest="start", metavar="MOMENT", help="the first moment (default: the beginning)")
    when.add_argument("--to", dest="end", metavar="MOMENT", help="the first moment no longer wanted (default: the end)")
    when.add_argument(
        "--speed", type=_speed, default=1.0, metavar="N",
        help="recorded seconds in a second, 0 for as fast as each client reads (default: %(default)g)",
    )  # fmt: skip
    when.add_argument(
        "--shared-clock", action="store_true", help="one position for all connections, as fast as the slowest reads"
    )
    when.add_argument(
        "--at-end",
        choices=("hold", "close", "loop"),
        default="hold",
        help="keep connections open with heartbeats, close them, or begin again (default: %(default)s)",
    )
    what = parser.add_argument_group("what")
    what.add_argument("--no-candles", action="store_true", help="push no candles, as the live platform does")
    what.add_argument("--api-key-file", type=Path, metavar="FILE", help="a key that gets the recorded orders, too")
    what.add_argument("--account", metavar="a-…", help="whose orders it gets, where several accounts are recorded")
    what.add_argument(
        "--only-known-keys", action="store_true", help="let in no other keys than that one and the recorded accounts'"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:  # noqa: PLR2004 - the highest port
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return int(text)


def _speed(text: str) -> float:
    from agentexchange.replay._pace import checked_speed

    try:
        return checked_speed(float(text))
    except ValueError:
        raise argparse.ArgumentTypeError("must be 0, or a factor such as 0.5 or 10") from None


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes.

    Raises:
        UsageError: no port, a wrong moment, key or account.
        CommandError: the file cannot be read, or the address not listened on.
    """
    if args.serve is None:
        raise UsageError(
            "replay: name the port to play it at: --serve 8000 (a Python program replays into its own handlers without "
            f"a server: AgentExchangeWS(base_url='file://{args.files[0].absolute()}'))"
        )
    options = _options(args)
    with file_errors("replay", args.files[0]):
        return run_stoppable(lambda stop: _serve(args, options, stop))


def _options(args: argparse.Namespace) -> dict[str, Any]:
    key = _key(args.api_key_file)
    if args.account is not None and key is None:
        raise UsageError("replay: --account says whose orders a key gets: set AGENTEXCHANGE_API_KEY or --api-key-file")
    return {
        "host": args.host,
        "port": args.serve,
        "dialect": args.dialect,
        "start": args.start,
        "end": args.end,
        "speed": args.speed,
        "shared_clock": args.shared_clock,
        "at_end": args.at_end,
        "candles": not args.no_candles,
        "api_keys": () if key is None else (key.get_secret_value(),),
        "account": args.account,
        "only_known_keys": args.only_known_keys,
        "tell": _tell,
        "warn": _warn,
    }


def _key(file: Path | None) -> SecretStr | None:
    from agentexchange_bridge.keys import find_api_key

    try:
        return find_api_key(file)
    except ValueError as exc:
        raise UsageError(f"replay: {exc}") from None


async def _serve(args: argparse.Namespace, options: dict[str, Any], stop: asyncio.Event) -> int:
    from agentexchange.serving import RecordedExchange
    from agentexchange.testing._command import stopped_or_failed

    exchange = RecordedExchange(*args.files, **options)
    await _start(exchange, args)
    try:
        _tell(_greeting(exchange, args))
        async with shown(lambda: exchange.progress, _warn):
            await stopped_or_failed(stop, exchange)
    finally:
        await exchange.stop()
    return 1 if exchange.damaged else 0


async def _start(exchange: RecordedExchange, args: argparse.Namespace) -> None:
    from agentexchange import RecordingError
    from agentexchange.testing._command import reason

    try:
        await exchange.start()
    except RecordingError:
        raise
    except ValueError as exc:
        raise UsageError(f"replay: {exc}") from None
    except OSError as exc:
        if exc.filename is not None:  # the file's, not the address's
            raise
        raise CommandError(f"replay: cannot listen on {args.host}:{args.serve}: {reason(exc)}") from None


def _greeting(exchange: RecordedExchange, args: argparse.Namespace) -> str:
    span = " to ".join(f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z" for moment in exchange.span)
    accounts = ", ".join(f"{account[:_SHOWN]}…" for account in exchange.accounts) or "none"
    names = ", ".join(path.name for path in args.files)
    speed = f"{args.speed:g}x" if args.speed else "as fast as clients read"
    clock = "one clock for all" if args.shared_clock else "a position for each connection"
    return (
        f"recording {names} ({args.dialect}) on {exchange.url}  {span}, topics: {exchange.topics:,}, "
        f"accounts: {accounts}; {speed}, {clock}"
    )


def _warn(sentence: str) -> None:
    print(f"replay: {sentence}", file=sys.stderr, flush=True)


def _tell(sentence: str) -> None:
    print(sentence, flush=True)
