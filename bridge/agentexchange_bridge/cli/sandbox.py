"""``agentexchange sandbox``: the local exchange of `agentexchange.testing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = "example:\n  agentexchange sandbox --port 8000 --pairs 50 --rate 200 --dialect live"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from agentexchange.testing import _command

    _command.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from agentexchange.testing import _command

    code: int = _command.run(args)
    return code
