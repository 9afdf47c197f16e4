"""What a replay was asked for."""

from __future__ import annotations

import asyncio
import inspect
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentexchange.recording import moment_of

from ._pace import checked_speed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._control import ReplayProgress
    from ._source import Moment

__all__ = ["ReplayOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """Checked when they are made; what they mean in the recording is found when the replay begins.

    Attributes:
        start: the first moment; None for the beginning.
        end: the first moment no longer wanted; None for the end.
        speed: recorded seconds per real second; 0: without waiting.
        on_progress: called on the event loop, at most five times a second and at the end.
        progress_bar: whether to show one on stderr; None: if that is a terminal.
        clock: steady seconds.
        sleep: waits so many of them.

    Raises:
        ValueError: no moment, or no speed.
        TypeError: ``on_progress`` is no function, or one that would have to be awaited.
    """

    start: Moment | None = None
    end: Moment | None = None
    speed: float = 1.0
    on_progress: Callable[[ReplayProgress], object] | None = None
    progress_bar: bool | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        checked_speed(self.speed)
        if self.on_progress is not None and not _is_plain(self.on_progress):
            raise TypeError("on_progress must be a plain function of one argument, def on_progress(progress)")
        for name in ("start", "end"):
            moment = getattr(self, name)
            if moment is not None:
                _check_moment(name, moment)


def _is_plain(function: object) -> bool:
    return callable(function) and not inspect.iscoroutinefunction(function)


def _check_moment(name: str, moment: Moment) -> None:
    try:
        moment_of(moment, now_us=0)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None
    except AttributeError:
        raise ValueError(f"{name} must be a datetime, a text or an EventName, not {moment!r}") from None
