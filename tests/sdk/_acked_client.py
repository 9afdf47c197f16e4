"""Clients of groups and durable positions with a recorder in place of handlers, for tests against real servers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from agentexchange._acked.options import GroupOptions, ResumeOptions
from agentexchange._group.transport import GroupTransport
from agentexchange._resume.transport import ResumeTransport
from agentexchange._shared.options import SharedOptions
from agentexchange._urls import redis_url
from agentexchange_schemas import Topic
from tests._patience import PATIENCE_S
from tests.sdk._recorder import Witness
from tests.sdk._shared_client import KEY, QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentexchange._acked.transport import AckedTransport
    from agentexchange_schemas import Envelope, FeedStatus

__all__ = ["AckedClient", "Call", "Crew", "group_member", "position_holder"]


class Call(NamedTuple):
    topic: str
    fields: dict[str, Any]
    seq: int | None
    source: str


class Crew(Witness):
    """Takes the place of `Dispatcher`: remembers calls; `behave` may be replaced by what a handler shall do."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.done: list[Call] = []
        self.patience_s = 1.0
        self.behave: Callable[[Call], Any] | None = None

    async def call(
        self, topic: str, fields: dict[str, Any], envelope: Envelope | None, source: str, scope: str | None
    ) -> None:
        call = Call(topic, dict(fields), envelope.seq if envelope else None, source)
        self.calls.append(call)
        self._changed.set()
        if self.behave is not None:
            await self.behave(call)
        self.done.append(call)
        self._changed.set()

    @property
    def ids(self) -> list[str]:
        return [call.fields["order_id"] for call in self.done]

    def causes(self, cause: str) -> list[FeedStatus]:
        return [status for status in self.statuses if status.cause == cause]

    def seen(self) -> str:
        return f"done {self.done[-20:]}"


class AckedClient:
    def __init__(self, transport: AckedTransport, crew: Crew) -> None:
        self.transport = transport
        self.crew = crew

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Crew]:
        """Run it beside the body, from the moment on that it reads."""
        task = asyncio.create_task(self.transport.run())
        try:
            await self.crew.until(lambda crew: bool(crew.statuses) or task.done())
            yield self.crew
        finally:
            self.transport.stop()
            async with asyncio.timeout(PATIENCE_S):
                await task


def group_member(url: str, *topics: str, group: str = "executors", **options: Any) -> AckedClient:
    crew = Crew()
    transport = GroupTransport(
        redis_url(url),
        SecretStr(KEY),
        dispatcher=crew,  # type: ignore[arg-type]
        topics=[Topic.parse(topic) for topic in topics or ("orders",)],
        options=GroupOptions(name=group, **_quick(options)),
    )
    return AckedClient(transport, crew)


def _quick(options: dict[str, Any]) -> dict[str, Any]:
    shared = QUICK | options.pop("shared", {})
    return {"tick_s": 0.01, "retry_first_s": 0.01, "shared": SharedOptions(**shared)} | options


def position_holder(url: str, *topics: str, name: str = "crew-7", **options: Any) -> AckedClient:
    crew = Crew()
    transport = ResumeTransport(
        redis_url(url),
        SecretStr(KEY),
        dispatcher=crew,  # type: ignore[arg-type]
        topics=[Topic.parse(topic) for topic in topics or ("orders",)],
        options=ResumeOptions(name=name, **_quick(options)),
    )
    return AckedClient(transport, crew)
