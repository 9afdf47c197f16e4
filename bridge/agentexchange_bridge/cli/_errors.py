"""How a command ends badly: one clear line on stderr and an exit code, no traceback.

CommandError            exit code 1: the command could not do what was asked
└── UsageError          exit code 2: what was asked makes no sense
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["CommandError", "UsageError"]


class CommandError(Exception):
    """The command failed; the message is the one line that is printed."""

    exit_code: ClassVar[int] = 1


class UsageError(CommandError):
    """Bad input: a flag, an environment variable, a file or a URL; the message says how to put it right."""

    exit_code: ClassVar[int] = 2
