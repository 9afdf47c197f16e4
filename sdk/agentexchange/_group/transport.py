"""Groups: events shared by many workers, each handled by one of them and acknowledged when its handler has returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange._acked.transport import AckedTransport
from agentexchange._scripts import ACK, BURY, PRUNE, RELEASE, RENEW, TAKE
from agentexchange.errors import ConnectionError as FinalConnectionError
from agentexchange_schemas import Cause

from .log import GroupLog
from .member import Member

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from agentexchange._acked.options import GroupOptions
    from agentexchange._acked.places import Place
    from agentexchange._dispatch import Dispatcher
    from agentexchange._urls import RedisUrl
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout, Topic

__all__ = ["GroupTransport"]

_PRUNE_EVERY_S: Final = 60.0
_MEMBERS_TTL: Final = 3.0  # times claim_after: how long the group's topics outlive its last member


class GroupTransport(AckedTransport[GroupLog]):
    """One member of a group."""

    scripts = (ACK, BURY, PRUNE, RELEASE, RENEW, TAKE)

    def __init__(
        self,
        url: RedisUrl,
        api_key: SecretStr,
        *,
        dispatcher: Dispatcher,
        topics: Iterable[Topic],
        options: GroupOptions,
    ) -> None:
        super().__init__(url, api_key, dispatcher=dispatcher, topics=topics, options=options, label=options.consumer)
        self._log_names: dict[str, bytes] = {}
        self._options = options
        self._member = Member(
            group=options.name,
            consumer=self._identity.unique,
            options=options,
            layout=self._layout,
            tell=self._tell,
            log_name=lambda scope: self._log_names.get(scope, b""),
            mask=self._mask,
        )

    # See `Party`

    async def join(self, stream: RespStream, layout: Layout, places: Iterable[Place]) -> None:
        """Make sure that all members handle the same.

        Raises:
            ConnectionError: another member handles other topics.
        """
        self._member.layout = layout
        self._open_logs(places)
        await self._agree(stream)

    async def keep(self, stream: RespStream) -> None:
        """Renew the membership, and delete consumers that are long gone."""
        clock, pause = self._options.shared.clock, self._options.claim_after_s / 4
        prune_at = clock()
        while True:
            await self._options.shared.sleep(pause)
            await self._agree(stream)
            if clock() >= prune_at:
                prune_at = clock() + _PRUNE_EVERY_S
                await self._prune(stream)

    # Within

    def _new_log(self, place: Place) -> GroupLog:
        return GroupLog(place, self._member, self._dispatcher.call)

    async def _agree(self, stream: RespStream) -> None:
        """A member must not acknowledge unseen what only another one handles: all have the same topics."""
        topics: dict[str, set[str]] = {}
        for place in self._logs:
            topics.setdefault(place.scope, set()).update(place.topics)
        ttl_ms = max(1, int(self._options.claim_after_s * _MEMBERS_TTL * 1000))
        for scope, own in topics.items():
            key = self._member.layout.group(scope, self._member.group)
            text = " ".join(sorted(own))
            if await stream.command("SET", key, text, "NX", "PX", ttl_ms) is not None:
                continue
            found = (await stream.command("GET", key) or b"").decode(errors="replace")
            if found not in (text, ""):
                raise self._refusal(scope, found, text, await stream.command("PTTL", key))
            await stream.command("PEXPIRE", key, ttl_ms)

    def _refusal(self, scope: str, theirs: str, own: str, left_ms: int) -> FinalConnectionError:
        return FinalConnectionError(
            f"the group {self._member.group} handles {theirs[:300]} in {scope}, and this client {own[:300]}: "
            "give every member the same handlers, or this one another group "
            f"(this one is free {max(0, left_ms) / 1000:.0f} s after its last member has ended)",
            code="GROUP_TOPICS",
        )

    async def _prune(self, stream: RespStream) -> None:
        idle_ms = int(max(self._options.forget_s, 10 * self._options.claim_after_s) * 1000)
        for place in self._logs:
            await PRUNE.run(stream, [place.log], self._member.group, idle_ms)
            await PRUNE.run(
                stream, [self._member.layout.retry(place.log, self._member.group)], self._member.group, idle_ms
            )

    def _on_log(self, scope: str, name: bytes | None) -> None:
        """Another name: told here for a log that vanished between two reads, and whose group another member made."""
        if name is None:
            return
        self._log_names[scope] = name
        changed = [log.learn(name) for place, log in self._logs.items() if place.scope == scope]
        if any(changed):
            self._tell(
                scope,
                cause=Cause.LOG_REPLACED,
                message=f"the logs of {scope} were replaced: the group {self._member.group} begins with the new ones",
            )
