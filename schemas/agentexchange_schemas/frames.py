"""An event's fields that know the frame in which the platform sent them: how a kept frame travels with its event."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["MAX_KEPT_FRAME_BYTES", "FramedFields", "frame_in"]

MAX_KEPT_FRAME_BYTES: Final = 64 * 1024
"""Larger frames are not kept; their events are. The platform's own are below 1 KiB."""


class FramedFields(dict[str, Any]):
    """Fields, and the text of their frame.

    A dict in all else: it compares and packs as one, and a copy is one without the frame. What is added to it by ``|``
    was not sent, and leaves the frame as it is.

    Attributes:
        frame: as the platform sent it.
    """

    __slots__ = ("frame",)

    def __init__(self, fields: dict[str, Any], frame: str) -> None:
        super().__init__(fields)
        self.frame = frame

    def __or__(self, added: dict[str, Any]) -> FramedFields:  # type: ignore[override] # fields have names, and no others
        return FramedFields({**self, **added}, self.frame)


def frame_in(fields: dict[str, Any]) -> str | None:
    """The frame that ``fields`` came in; None where it is not kept."""
    return fields.frame if isinstance(fields, FramedFields) else None
