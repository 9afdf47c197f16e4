"""The inspector's pages over the made-up market, as a process: ``python -m tests.browser.fake_server PORT …``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from pydantic import SecretStr

from agentexchange_bridge.cli._loop import run_stoppable
from agentexchange_bridge.inspector.server import ServerOptions, bind, serve
from tests.bridge.inspector._fake import FakeInspection


async def main(args: argparse.Namespace, stop: asyncio.Event) -> int:
    token = os.environ.get("AGENTEXCHANGE_INSPECT_TOKEN")
    options = ServerOptions(port=args.port, token=SecretStr(token) if token else None)
    async with FakeInspection(symbols=args.symbols, rate=args.rate, is_file=args.file) as inspection:
        await serve(inspection, bind(options), options, stop=stop, ready=lambda: print("ready", flush=True))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--file", action="store_true")
    arguments = parser.parse_args()
    sys.exit(run_stoppable(lambda stop: main(arguments, stop)))
