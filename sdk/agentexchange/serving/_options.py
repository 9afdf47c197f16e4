"""What a served recording is to be told, checked in one place."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from agentexchange.replay._pace import checked_speed
from agentexchange.testing._options import ServerKeywords, ServerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentexchange.replay import Moment

__all__ = ["AtEnd", "RecordedKeywords", "RecordedOptions"]

AtEnd: TypeAlias = Literal["hold", "close", "loop"]
"""What happens to a connection at the recording's end: it stays open, is closed with 1000, or all begins again."""

_log: Final = logging.getLogger("agentexchange.serving")


class RecordedKeywords(ServerKeywords, total=False):
    """The keyword arguments of ``RecordedExchange``."""

    speed: float
    start: Moment | None
    end: Moment | None
    shared_clock: bool
    api_keys: Sequence[str]
    account: str | None
    only_known_keys: bool
    candles: bool
    at_end: AtEnd
    tell: Callable[[str], None]
    warn: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RecordedOptions(ServerOptions):
    """See ``RecordedExchange`` for what each one means.

    Raises:
        ValueError: an option is outside its range; the message names the option and the range.
    """

    speed: float = 1.0
    start: Moment | None = None
    end: Moment | None = None
    shared_clock: bool = False
    api_keys: Sequence[str] = field(default=(), repr=False)
    account: str | None = None
    only_known_keys: bool = False
    candles: bool = True
    at_end: AtEnd = "hold"
    tell: Callable[[str], None] = field(default=lambda _: None, repr=False)
    warn: Callable[[str], None] = field(default=_log.warning, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_speed(self.speed)
        if isinstance(self.api_keys, str) or not all(self.api_keys):
            raise ValueError("api_keys must be a sequence of non-empty strings")
        if self.account is not None and not self.api_keys:
            raise ValueError("account is whose events a stand-in key gets: give that key in api_keys, too")
        if self.at_end not in get_args(AtEnd):
            raise ValueError(f"at_end must be one of {', '.join(get_args(AtEnd))}, not {self.at_end!r}")
