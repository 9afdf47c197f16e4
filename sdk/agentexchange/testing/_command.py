"""``agentexchange sandbox``: run a sandbox exchange until interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from agentexchange.testing._options import DEMO_KEY
from agentexchange.testing._sandbox import SandboxExchange

if TYPE_CHECKING:
    import argparse

    from agentexchange.testing._server import LocalExchange

__all__ = ["add_arguments", "reason", "run", "stopped_or_failed"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to ``parser``."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=600, help="number of pairs (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=500.0, help="ticks per second over all pairs (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="same seed, same market (default: %(default)s)")
    parser.add_argument(
        "--api-key",
        action="append",
        metavar="KEY",
        help=f"a key to let in, may be repeated (default: {DEMO_KEY})",
    )
    parser.add_argument(
        "--dialect",
        choices=("live", "page"),
        default="live",
        help="behave as the live platform or as its documentation page (default: %(default)s)",
    )
    parser.add_argument(
        "--push-candles",
        action="store_true",
        default=None,
        help="push candles (the page dialect does anyway)",
    )
    parser.add_argument(
        "--order-rate",
        type=float,
        default=1.0,
        help="order updates per second and key (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the sandbox until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after a signal, 1 when it cannot listen, 2 for an option outside its range.
    """
    try:
        exchange = _exchange(args)
    except ValueError as error:
        return _complain(str(error), code=2)
    try:
        return asyncio.run(_serve(exchange, args))
    except OSError as error:
        return _complain(f"cannot listen on {args.host}:{args.port}: {reason(error)}", code=1)


def reason(error: OSError) -> str:
    """Why an address cannot be listened on, in the system's own words: asyncio wraps them in the address."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)  # a host name that cannot be resolved


def _complain(message: str, *, code: int) -> int:
    print(f"agentexchange sandbox: {message}", file=sys.stderr)  # noqa: T201  # a command's own output
    return code


def _exchange(args: argparse.Namespace) -> SandboxExchange:
    return SandboxExchange(
        host=args.host,
        port=args.port,
        pairs=args.pairs,
        rate=args.rate,
        seed=args.seed,
        api_keys=args.api_key or (DEMO_KEY,),
        dialect=args.dialect,
        push_candles=args.push_candles,
        order_rate=args.order_rate,
    )


async def _serve(exchange: SandboxExchange, args: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with exchange:
        hint = f"{len(args.api_key)} given" if args.api_key else DEMO_KEY
        print(f"sandbox exchange ({args.dialect}) on {exchange.url}  API key: {hint}", flush=True)  # noqa: T201  # as above
        await stopped_or_failed(stop, exchange)
    return 0


async def stopped_or_failed(stop: asyncio.Event, exchange: LocalExchange) -> None:
    """Wait for a signal or for the exchange to fail; leaving it raises what it failed of."""
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(exchange.wait_closed())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
