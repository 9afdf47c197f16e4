"""Reading frames so that an event's fields know theirs, where that is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from agentexchange_schemas.frames import MAX_KEPT_FRAME_BYTES, FramedFields
from agentexchange_schemas.upstream import EventFrame, parse

if TYPE_CHECKING:
    from pydantic import SecretStr

    from agentexchange_schemas.upstream import Message

__all__ = ["FrameKeeper"]

_escape: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))")  # JSON may write any character so


class FrameKeeper:
    """Reads the frames of sessions with one API key.

    A frame above `MAX_KEPT_FRAME_BYTES` is not kept, nor one with the key in it, however it is written there.
    """

    def __init__(self, api_key: SecretStr) -> None:
        key = api_key.get_secret_value()
        self._forms = (key, quote(key, safe=""))

    def parse(self, raw: bytes) -> Message:
        """Read one frame as `agentexchange_schemas.upstream.parse` does.

        Returns:
            An event with `FramedFields`, or what ``parse`` returns where the frame is not kept.

        Raises:
            FrameError: junk.
        """
        message = parse(raw)
        if type(message) is not EventFrame or len(raw) > MAX_KEPT_FRAME_BYTES:
            return message
        frame = raw.decode()
        if self._shows_key(frame):
            return message
        return EventFrame(message.topic, FramedFields(message.fields, frame))

    def _shows_key(self, frame: str) -> bool:
        plain = _escape.sub(_character, frame) if "\\" in frame else frame
        return any(form in frame or form in plain for form in self._forms)


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]
