"""The inspector: a web page that shows the feed, now or at any moment that the logs or a recording still hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange_schemas import account_scope

from .inspection import FileInspection, RedisInspection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydantic import SecretStr

    from agentexchange._urls import RedisUrl

    from .feed import Inspection

__all__ = ["FileInspection", "RedisInspection", "open_inspection"]


def open_inspection(
    *, redis_url: RedisUrl | None = None, recording: Path | None = None, api_keys: Sequence[SecretStr] = ()
) -> Inspection:
    """What is to be inspected: of a Redis server or of a recording. Enter it to connect.

    Args:
        redis_url: the server.
        recording: an ``.axlog`` file instead.
        api_keys: orders and portfolio are shown of these accounts, and of no others.

    Raises:
        ValueError: none or both of server and recording.
    """
    accounts = list(dict.fromkeys(account_scope(key.get_secret_value()) for key in api_keys))
    if recording is not None and redis_url is None:
        return FileInspection(recording, accounts)
    if redis_url is not None and recording is None:
        return RedisInspection(redis_url, accounts)
    raise ValueError("name a Redis server or a recording, and not both")
