"""Parts that need an optional dependency, imported when they are first used."""

from __future__ import annotations

from importlib import import_module, util
from typing import Any

from .errors import MissingExtraError

__all__ = ["has_redis", "redis_backed"]


def has_redis() -> bool:
    """Whether the redis extra is installed; imports nothing."""
    return util.find_spec("redis") is not None


def redis_backed(module: str, name: str) -> Any:
    """Import ``name`` from a module of this package that needs redis.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return getattr(import_module(f"agentexchange.{module}"), name)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in ("redis", "hiredis"):
            raise
        raise MissingExtraError('a shared feed needs redis: pip install "agentexchange[redis]"') from exc
