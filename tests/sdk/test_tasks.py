from __future__ import annotations

import pytest

from agentexchange._tasks import first_failure, next_turn


@pytest.mark.parametrize(("took", "waits"), [(0.25, 1), (1.2, 1), (1.3, 2), (600.0, 2)])
async def test_after_the_loop_stood_still_there_is_another_wait(took: float, waits: int) -> None:
    now, slept = [5.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += took

    await next_turn(sleep, 0.25, clock=lambda: now[0])
    assert slept == [0.25] * waits


def test_the_first_failure_is_found_in_groups_within_groups() -> None:
    cause = OSError("the cause")
    within = BaseExceptionGroup("inner", [cause, ValueError("a consequence")])
    assert first_failure(BaseExceptionGroup("outer", [within, KeyError("another")])) is cause
