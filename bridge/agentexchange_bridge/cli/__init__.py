"""The ``agentexchange`` command: one module per subcommand, imported only when that one is asked for.

Exit codes: 0 done or stopped on request, 1 failed, 2 bad input.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

from ._commands import COMMANDS, Command, find_command
from ._errors import CommandError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; prints errors as one line on stderr."""
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except CommandError as exc:
        print(f"agentexchange: {exc}", file=sys.stderr)
        return exc.exit_code
    except BrokenPipeError:
        return _reader_gone()
    except KeyboardInterrupt:  # before a command has its own signal handlers
        return 1
    return code


def _dispatch(argv: list[str]) -> int:
    match argv:
        case []:
            raise UsageError(f"name a command: {', '.join(command.name for command in COMMANDS)} (or --help)")
        case ["-h" | "--help", *_]:
            print(_overview())
        case ["-V" | "--version", *_]:
            print(_version())
        case [name, *rest]:
            return _run(find_command(name), rest)
    return 0


def _run(command: Command, argv: list[str]) -> int:
    module = command.load()
    parser = _Parser(
        prog=f"agentexchange {command.name}",
        description=f"{command.summary[:1].upper()}{command.summary[1:]}.",
        epilog=module.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    module.add_arguments(parser)
    try:
        args = parser.parse_args(argv)
    except SystemExit:  # --help and --version have printed what was asked for
        return 0
    return module.run(args)


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line like every other bad input: in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog.removeprefix('agentexchange ')}: {message} (see {self.prog} --help)")


def _overview() -> str:
    width = max(len(command.name) for command in COMMANDS)
    lines = "\n".join(f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS)
    return (
        "usage: agentexchange COMMAND [OPTIONS]\n\n"
        "One AgentExchange feed for a whole crew of trading agents.\n\n"
        f"commands:\n{lines}\n\n"
        "options:\n  -h, --help     this text; after a command, its options\n  -V, --version  the version\n\n"
        "example:\n  agentexchange demo --seconds 15"
    )


def _version() -> str:
    return f"agentexchange {version('agentexchange')}"


def _reader_gone() -> int:
    """What reads our output (``head``, a pager) has seen enough: no failure, and no second error at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
