"""What record, export and import share: sources, moments, sizes and the errors of files."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ._errors import CommandError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import TopicChoice

__all__ = ["add_choice", "file_errors", "moment", "redis_source", "scopes_of", "topics_of"]

URL_VARIABLE: Final = "AGENTEXCHANGE_REDIS_URL"


def add_choice(parser: argparse.ArgumentParser, verb: str) -> None:
    """Declare what is chosen out of a log or a file."""
    choice = parser.add_argument_group("what (default: everything)")
    choice.add_argument(
        "--topic", action="append", metavar="TOPIC",
        help=f"{verb} only this topic, again for more; ticker:all for every ticker; notices always",
    )  # fmt: skip
    choice.add_argument("--scope", action="append", metavar="SCOPE", help=f"{verb} only this scope: m0, m1, … or a-…")


def redis_source(text: str | None, command: str) -> RedisUrl:
    """The Redis of ``text`` or of the environment.

    Raises:
        UsageError: none, or not a Redis URL.
    """
    from agentexchange._urls import redis_url

    url = text or os.environ.get(URL_VARIABLE)
    if not url:
        raise UsageError(f"{command}: name the Redis server by its URL, or set {URL_VARIABLE}")
    try:
        return redis_url(url)
    except ValueError as exc:
        raise UsageError(f"{command}: {exc}") from None


def topics_of(topics: Sequence[str] | None, command: str) -> TopicChoice:
    """The wanted topics.

    Raises:
        UsageError: not a topic.
    """
    from agentexchange.recording import TopicChoice

    try:
        return TopicChoice(topics)
    except ValueError as exc:
        raise UsageError(f"{command}: {exc}") from None


def scopes_of(scopes: Sequence[str] | None, command: str) -> tuple[str, ...] | None:
    """The wanted scopes, checked; None for all.

    Raises:
        UsageError: not a scope.
    """
    from agentexchange_schemas import Layout

    try:
        for scope in scopes or ():
            Layout().base(scope)
    except ValueError as exc:
        raise UsageError(f"{command}: {exc}") from None
    return tuple(scopes) if scopes else None


def moment(text: str | None, command: str, flag: str) -> int | None:
    """A moment in µs since the Unix epoch; None where none is given.

    Raises:
        UsageError: not a moment.
    """
    from agentexchange.recording import moment_us

    if text is None:
        return None
    try:
        return moment_us(text, now_us=time.time_ns() // 1000)
    except ValueError as exc:
        raise UsageError(f"{command}: {flag}: {exc}") from None


@contextmanager
def file_errors(command: str, path: Path) -> Iterator[None]:
    """Say in one line what is wrong with a file, and what with Redis."""
    from agentexchange import AgentExchangeError
    from agentexchange_schemas import EnvelopeError

    try:
        yield
    except (AgentExchangeError, EnvelopeError) as exc:
        raise CommandError(f"{command}: {exc}") from None
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise CommandError(f"{command}: {exc.filename or path}: {exc.strerror or exc}") from None
