"""Where tail, show and stats read the past from: recordings, or the logs in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._errors import CommandError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agentexchange._urls import RedisUrl
    from agentexchange.replay import FileSource, RedisSource, Source

__all__ = ["RECORDER_LOG", "account_of", "files_of", "moment_of", "recording_source", "shared_source"]

RECORDER_LOG: Final = "recorder"
"""The log of a lane with what the recorder itself tells."""

_SCHEME: Final = "file:"


def files_of(files: Sequence[Path], url: str | None, command: str) -> list[Path]:
    """The recordings that are meant, be it by name or by a ``file://`` URL; none: not a recording.

    Raises:
        UsageError: both, or a URL of a file that is malformed or has options.
        CommandError: no file matches the URL.
    """
    from agentexchange._urls import FileUrl, parse_base_url

    if url is not None and files:
        raise UsageError(f"{command}: give files or --url, not both")
    if url is None or not url.lower().startswith(_SCHEME):
        return list(files)
    try:
        parsed = parse_base_url(url)
        if not isinstance(parsed, FileUrl) or parsed != FileUrl(parsed.path):
            raise UsageError(f"{command}: the options of a file's URL are for a replay: leave them out")
        return parsed.files()
    except ValueError as exc:
        raise UsageError(f"{command}: {exc}") from None
    except FileNotFoundError as exc:
        raise CommandError(f"{command}: {exc}") from None


def recording_source(files: Sequence[Path], tell: Callable[[str], None], *, grows: bool = False) -> FileSource:
    """The recordings as one source; ``grows``: they are to be followed."""
    from agentexchange.replay import FileSource

    return FileSource(*files, tell=tell, grows=grows)


def shared_source(
    url: RedisUrl, scopes: Sequence[str] | None, account: str | None, tell: Callable[[str], None]
) -> RedisSource:
    """The logs in Redis: the market's and the account's, or those of ``scopes``."""
    from agentexchange.replay import RedisSource

    accounts = () if account is None or scopes is not None else (account,)
    return RedisSource(url, scopes=scopes, accounts=accounts, tell=tell)


def account_of(file: Path | None, command: str) -> str | None:
    """The scope of the API key in ``file`` or the environment; None without one.

    Raises:
        UsageError: the file cannot be read, or holds no key.
    """
    from agentexchange_bridge.keys import find_api_key
    from agentexchange_schemas import account_scope

    try:
        key = find_api_key(file)
    except ValueError as exc:
        raise UsageError(f"{command}: {exc}") from None
    return None if key is None else account_scope(key.get_secret_value())


async def moment_of(source: Source, text: str | None, command: str, flag: str) -> int | None:
    """The ``r`` of a moment in ``source``; of a recording, "5m ago" counts from its end. None where none is given.

    Raises:
        UsageError: no moment, or an event that is not there.
    """
    from agentexchange import RecordingError
    from agentexchange.replay import FileSource, moment_in

    if text is None:
        return None
    now_us = source.last_us if isinstance(source, FileSource) else None
    try:
        return await moment_in(source, text, now_us=now_us)
    except RecordingError:  # a ValueError, too
        raise
    except ValueError as exc:
        raise UsageError(f"{command}: {flag}: {exc}") from None
