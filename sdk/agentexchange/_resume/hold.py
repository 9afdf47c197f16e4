"""The hold on a durable position: one live client at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange._scripts import HOLD, SAVE
from agentexchange.errors import ConnectionError as FinalConnectionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentexchange._acked.options import ResumeOptions
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["Hold"]

_RENEWALS: Final = 3  # in the time after which a hold is lost
_POLLS: Final = 20  # the same, while another one holds it
_FRESH: Final = 0.5  # share of the time after which nothing is begun without a renewal


class Hold:
    """Taken in every scope that the position is in, renewed while alive, given up at the end.

    Attributes:
        layout: the names; may change with a connection.
        who: the holder's name, unlike every other's.
    """

    def __init__(self, options: ResumeOptions, layout: Layout, who: str) -> None:
        self.layout = layout
        self.who = who
        self._options = options
        self._clock = options.shared.clock
        self._turns: dict[str, int] = {}
        self._good_until = float("-inf")

    @property
    def is_sure(self) -> bool:
        """Whether nobody else can hold it by now."""
        return self._clock() < self._good_until

    @property
    def pause_s(self) -> float:
        """Between two renewals."""
        return self._options.hold_s / _RENEWALS

    async def take(self, stream: RespStream, scopes: Iterable[str]) -> None:
        """Take the hold. One whose holder has died is waited for; a live holder shows by renewing it.

        Raises:
            ConnectionError: somebody else holds it.
        """
        for scope in scopes:
            last_left_ms = None
            while (other := await self._ask(stream, scope)) is not None:
                holder, left_ms = other
                if scope in self._turns or (last_left_ms is not None and left_ms > last_left_ms):
                    raise self._refusal(scope, holder, left_ms)
                last_left_ms = left_ms
                await self._options.shared.sleep(min(self._options.hold_s / _POLLS, max(0.01, left_ms / 1000)))
        await self.renew(stream)

    async def renew(self, stream: RespStream) -> None:
        """Renew it.

        Raises:
            ConnectionError: it was lost, and somebody else has it.
        """
        asked_at = self._clock()
        for scope in sorted(self._turns):
            if (other := await self._ask(stream, scope)) is not None:
                raise self._refusal(scope, *other)
        self._good_until = asked_at + self._options.hold_s * _FRESH

    async def save(
        self, stream: RespStream, scope: str, log_name: bytes, fields: Mapping[str, str | bytes | int]
    ) -> None:
        """Save a position.

        Raises:
            ConnectionError: the hold was lost.
        """
        values = [part for pair in fields.items() for part in pair]
        if await SAVE.run(stream, self._keys(scope), self.who, log_name, *values) != 1:
            await self.renew(stream)  # raises where another one has it
            if await SAVE.run(stream, self._keys(scope), self.who, log_name, *values) != 1:
                raise FinalConnectionError(
                    f"the position {self._options.name} in {scope} was lost", code="POSITION_LOST"
                )

    async def release(self, stream: RespStream) -> None:
        """Give it up, so that a successor need not wait."""
        self._good_until = float("-inf")
        for scope in sorted(self._turns):
            await HOLD.run(stream, self._keys(scope), self.who, 0, self._turns[scope])
        self._turns.clear()

    async def _ask(self, stream: RespStream, scope: str) -> tuple[str, int] | None:
        """None where it is this client's now; else who has it, and for how many ms."""
        hold_ms = max(1, int(self._options.hold_s * 1000))
        reply = await HOLD.run(stream, self._keys(scope), self.who, hold_ms, self._turns.get(scope, 0))
        if reply[0] != 1:
            return reply[1].decode(errors="replace"), reply[2]
        self._turns[scope] = reply[1]
        return None

    def _keys(self, scope: str) -> list[str]:
        name = self._options.name
        return [self.layout.position_holder(scope, name), self.layout.position(scope, name)]

    def _refusal(self, scope: str, holder: str, left_ms: int) -> FinalConnectionError:
        name = f"the position {self._options.name} in {scope}"
        if not holder:
            text = f"{name} was lost: another program held it meanwhile and has moved it; start this one again"
        else:
            was = "was lost" if scope in self._turns else "cannot be taken"
            text = (
                f"{name} {was}: {holder[:100]} holds it, and it is free {max(0, left_ms) / 1000:.1f} s after that one "
                "has ended; one program at a time resumes under a name"
            )
        return FinalConnectionError(text, code="POSITION_HELD")
