"""The server-side scripts: one ``.lua`` file each, shipped as package data and called by their hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from agentexchange.redis import ReplyError, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange.redis import RespStream

__all__ = ["ACQUIRE", "BEAT", "RELEASE", "SCRIPTS", "WRITE_BATCH", "Script", "load_scripts"]


@dataclass(frozen=True)
class Script:
    """One script; its header comment is its contract."""

    name: str

    @cached_property
    def text(self) -> str:
        """The Lua source."""
        return (files("agentexchange_bridge") / "scripts" / f"{self.name}.lua").read_text(encoding="utf-8")

    @cached_property
    def sha(self) -> str:
        """The hash Redis knows it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> bytes:
        """The packed EVALSHA command."""
        return pack("EVALSHA", self.sha, len(keys), *keys, *args)


ACQUIRE: Final = Script("acquire")
BEAT: Final = Script("beat")
RELEASE: Final = Script("release")
WRITE_BATCH: Final = Script("write_batch")
SCRIPTS: Final = (ACQUIRE, BEAT, RELEASE, WRITE_BATCH)


async def load_scripts(stream: RespStream) -> None:
    """Make every script known to the server; needed once per connection, since a restarted server forgets them.

    Raises:
        RedisLinkError: the connection is gone, or the server refuses scripts.
    """
    replies = await stream.send(b"".join(pack("SCRIPT", "LOAD", s.text) for s in SCRIPTS), replies=len(SCRIPTS))
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise reply
