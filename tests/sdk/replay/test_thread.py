from __future__ import annotations

import asyncio
import threading

import pytest

from agentexchange.replay._thread import CallThread


async def test_jobs_run_one_after_the_other_on_one_thread() -> None:
    thread = CallThread("test")
    names = await asyncio.gather(*(thread.run(lambda: threading.current_thread().name) for _ in range(3)))
    assert names == ["test"] * 3
    thread.close()


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
async def test_what_a_job_raises_is_raised_where_it_is_awaited(error: BaseException) -> None:
    thread = CallThread("test")

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await thread.run(fail)
    assert await thread.run(lambda: 5) == 5
    thread.close()


async def test_cancelled_the_job_is_told_that_nobody_waits() -> None:
    thread, begun, seen = CallThread("test"), threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        while not thread.is_abandoned:
            threading.Event().wait(0.001)
        seen.set()

    running = asyncio.create_task(thread.run(job))
    await asyncio.to_thread(begun.wait, 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(seen.wait, 5)
    thread.close()


async def test_closed_it_ends() -> None:
    thread = CallThread("test-that-ends")
    await thread.run(lambda: None)
    (found,) = [one for one in threading.enumerate() if one.name == "test-that-ends"]
    thread.close()
    await asyncio.to_thread(found.join, 5)
    assert not found.is_alive()
    assert found.daemon
