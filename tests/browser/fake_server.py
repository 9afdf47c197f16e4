"""The inspector's pages over the made-up market, as a process: ``python -m tests.browser.fake_server PORT …``.

On SIGUSR1 it prints what it holds, for the test of leaks.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys

from nicegui import Client, ui
from pydantic import SecretStr

from agentexchange_bridge.cli._loop import run_stoppable
from agentexchange_bridge.inspector import server
from tests.bridge.inspector._fake import FakeInspection


async def main(args: argparse.Namespace, stop: asyncio.Event) -> int:
    token = os.environ.get("AGENTEXCHANGE_INSPECT_TOKEN")
    server.RECONNECT_S = args.reconnect_s  # type: ignore[misc]
    options = server.ServerOptions(port=args.port, token=SecretStr(token) if token else None)
    async with FakeInspection(symbols=args.symbols, rate=args.rate, is_file=args.file) as inspection:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell, inspection)
        await server.serve(inspection, server.bind(options), options, stop=stop, ready=lambda: _print("ready"))
    return 0


def _tell(inspection: FakeInspection) -> None:
    gc.collect()
    timers = sum(1 for each in gc.get_objects() if isinstance(each, ui.timer) and not each.is_deleted)
    tasks = sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("outbox loop"))
    _print(
        f"held: clients={len(Client.instances)} travels={len(inspection.travels)} timers={timers} outboxes={len(tasks)}"
    )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--file", action="store_true")
    parser.add_argument("--reconnect-s", type=float, default=8.0)
    arguments = parser.parse_args()
    sys.exit(run_stoppable(lambda stop: main(arguments, stop)))
