"""``file://`` as a ``base_url``: a recording to replay, and how."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["FileUrl", "file_url"]

_OPTIONS: Final = ("speed", "start", "end", "account")
_is_account = re.compile(r"a-[0-9a-f]{32}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class FileUrl:
    """A recording.

    Attributes:
        path: absolute; a ``*`` in the name stands for anything, and all files that match are one recording.
        speed: recorded seconds per real second.
        start: the first moment, as text; None for the beginning.
        end: the first moment no longer wanted.
        account: the scope of orders and portfolio.
    """

    path: str
    speed: float = 1.0
    start: str | None = None
    end: str | None = None
    account: str | None = None

    def files(self) -> list[Path]:
        """The files that are there.

        Raises:
            FileNotFoundError: none is.
        """
        if "*" not in self.path:
            return [Path(self.path)]
        found = sorted(glob.glob(glob.escape(self.path).replace("[*]", "*")))  # noqa: PTH207 - an absolute pattern
        if not found:
            raise FileNotFoundError(f"no file matches {self.path}")
        return [Path(name) for name in found]

    def __str__(self) -> str:
        return f"file://{self.path}"


def file_url(parts: SplitResult) -> FileUrl:
    """Read a ``file://`` URL.

    Raises:
        ValueError: a relative path, another machine's, or an unknown or malformed option.
    """
    if parts.netloc not in ("", "localhost"):
        raise ValueError("a file:// URL must hold an absolute path, with three slashes: file:///data/day.axlog")
    path = unquote(parts.path)
    if not path.strip("/"):
        raise ValueError("a file:// URL must name a recording: file:///data/day.axlog")
    options = _options(parts.query)
    if not options.keys() <= set(_OPTIONS):
        raise ValueError(f"the file URL has an unknown option: use {', '.join(_OPTIONS)}")
    return FileUrl(
        path,
        speed=_speed(options.get("speed", "1")),
        start=options.get("start"),
        end=options.get("end"),
        account=_account(options.get("account")),
    )


def _options(query: str) -> dict[str, str]:
    """A ``+`` stays one: it is part of a time's zone."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _speed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("the file URL's speed must be a number from 0 on (0: without waiting)") from None


def _account(text: str | None) -> str | None:
    if text is not None and not _is_account(text):
        raise ValueError("the file URL's account must be an account's scope: a- and 32 hex digits")
    return text
