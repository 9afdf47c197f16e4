"""The server-side scripts of groups and durable positions: one ``.lua`` file each, called by their hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from .redis import ReplyError, pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .redis import RespStream

__all__ = ["ACK", "BURY", "HOLD", "PRUNE", "RELEASE", "RENEW", "RETRY", "SAVE", "TAKE", "Script", "load_scripts"]


@dataclass(frozen=True)
class Script:
    """One script; its header comment is its contract."""

    name: str

    @cached_property
    def text(self) -> str:
        """The Lua source."""
        return (files("agentexchange") / "scripts" / f"{self.name}.lua").read_text(encoding="utf-8")

    @cached_property
    def sha(self) -> str:
        """The hash Redis knows it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, stream: RespStream, keys: Sequence[str], *args: str | bytes | int) -> Any:
        """Call it; it must have been loaded.

        Raises:
            RedisLinkError: the server refuses, or the connection is gone.
        """
        return await stream.command("EVALSHA", self.sha, len(keys), *keys, *args)


ACK: Final = Script("group_ack")
BURY: Final = Script("group_bury")
PRUNE: Final = Script("group_prune")
RELEASE: Final = Script("group_release")
RENEW: Final = Script("group_renew")
RETRY: Final = Script("group_retry")
TAKE: Final = Script("group_take")
HOLD: Final = Script("resume_hold")
SAVE: Final = Script("resume_save")


async def load_scripts(stream: RespStream, scripts: Iterable[Script]) -> None:
    """Make ``scripts`` known to the server; needed once per connection, since a restarted server forgets them.

    Raises:
        RedisLinkError: the connection is gone, or the server refuses scripts.
    """
    wanted = list(scripts)
    replies = await stream.send(b"".join(pack("SCRIPT", "LOAD", s.text) for s in wanted), replies=len(wanted))
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise reply
