"""Runs a command's coroutine with a clean stop on SIGINT and SIGTERM, on uvloop where it is installed."""

from __future__ import annotations

import asyncio
import signal
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["run_stoppable", "unless_stopped"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_stoppable(command: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    """Run ``command(stop)`` and return its exit code; call it on the main thread.

    The first SIGINT or SIGTERM sets ``stop``: the command finishes what it holds and returns. A second one
    cancels it, and the exit code is 1.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_with_signals(command))


async def _with_signals(command: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    task = asyncio.create_task(command(stop), name="command")

    def on_signal() -> None:
        if stop.is_set():
            task.cancel("a second signal")
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        return await task
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return 1


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, int]) -> int:
    """The exit code of ``work``; 1 where ``stop`` was set first and it was cancelled."""
    task, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else 1
    finally:
        stopped.cancel()
        task.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory
