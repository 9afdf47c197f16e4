"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["whole_or_not"]


@contextmanager
def whole_or_not(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` when that has been done; what an error leaves of it is deleted."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        yield part
        os.replace(part, path)  # noqa: PTH105 - over an existing file, on every system
    finally:
        part.unlink(missing_ok=True)
