"""A feed beside a test: what it hands over, and a task that always ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from agentexchange._urls import upstream_url
from agentexchange.testing import DEMO_KEY
from agentexchange.upstream import AuthPolicy, FeedOptions, PoolOptions, UpstreamFeed, UpstreamPool
from agentexchange_schemas import FeedState, FeedStatus, FrameError, Topic
from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.sdk._timeline import Timeline

__all__ = ["Sink", "make_feed", "make_pool", "running"]


class Sink:
    """Records, and lets a test wait."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.statuses: list[FeedStatus] = []
        self.junk: list[FrameError] = []
        self._changed = asyncio.Event()

    def on_event(self, topic: str, fields: dict[str, Any]) -> None:
        self.events.append((topic, fields))
        self._changed.set()

    def on_status(self, status: FeedStatus) -> None:
        self.statuses.append(status)
        self._changed.set()

    def on_junk(self, error: FrameError) -> None:
        self.junk.append(error)
        self._changed.set()

    @property
    def states(self) -> list[str]:
        """The feed-wide states, in order."""
        return [str(status.state) for status in self.statuses if status.topic is None]

    def of(self, topic: str) -> list[FeedStatus]:
        """What was told of one topic."""
        return [status for status in self.statuses if status.topic == topic]

    @property
    def topics(self) -> set[str]:
        return {topic for topic, _ in self.events}

    def ticks(self, topic: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == topic]

    @property
    def prices(self) -> list[str]:
        return [fields["price"] for topic, fields in self.events if topic.startswith("ticker:")]

    async def until(self, condition: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came true: {self.events} {self.statuses} {self.junk}") from None

    async def until_state(self, state: FeedState, count: int = 1) -> None:
        await self.until(lambda: self.states.count(str(state)) >= count)


def make_feed(
    url: str,
    sink: Sink,
    *topics: str,
    key: str = DEMO_KEY,
    auth: AuthPolicy = AuthPolicy.STRICT,
    time: Timeline | None = None,
    **options: Any,
) -> UpstreamFeed:
    if time is not None:
        options |= {"clock": time.clock, "wall": time.clock, "sleep": time.sleep, "random": lambda: 0.0}
    return UpstreamFeed(
        upstream_url(url),
        SecretStr(key),
        sink=sink,
        topics=map(Topic.parse, topics),
        auth=auth,
        options=FeedOptions(**options),
    )


def make_pool(
    url: str,
    sink: Sink,
    *topics: str,
    key: str = DEMO_KEY,
    auth: AuthPolicy = AuthPolicy.STRICT,
    time: Timeline | None = None,
    options: dict[str, Any] | None = None,
    **pool: Any,
) -> UpstreamPool:
    timed = {"clock": time.clock, "wall": time.clock, "sleep": time.sleep, "random": lambda: 0.0} if time else {}
    return UpstreamPool(
        upstream_url(url),
        SecretStr(key),
        sink=sink,
        topics=map(Topic.parse, topics),
        auth=auth,
        options=FeedOptions(**timed | (options or {})),
        pool=PoolOptions(**{"stagger_s": 0.0} | pool),
    )


@contextlib.asynccontextmanager
async def running(feed: UpstreamFeed | UpstreamPool) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(feed.run())
    try:
        yield task
    finally:
        feed.stop()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(task, return_exceptions=True)
