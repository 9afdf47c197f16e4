"""Small helpers for tasks that have an owner."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

__all__ = ["end", "first_failure", "next_turn"]

_STOOD_STILL_S: Final = 1.0


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks that still run and wait until all have left; what they raise stays in them."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def first_failure(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one that ended a task group; the others are its consequences."""
    failure = failures.exceptions[0]
    return first_failure(failure) if isinstance(failure, BaseExceptionGroup) else failure


async def next_turn(
    sleep: Callable[[float], Awaitable[None]], seconds: float, *, clock: Callable[[], float] = time.monotonic
) -> None:
    """Wait so long; once more where the loop stood still: what came in that time is to be read before it is judged."""
    began = clock()
    await sleep(seconds)
    if clock() - began >= seconds + _STOOD_STILL_S:
        await sleep(seconds)
