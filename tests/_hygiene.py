"""Looks for the tests' own keys and passwords in whatever the suite says: logs, output, warnings, errors, and Redis.

A pytest plugin, registered by conftest.py: a test in which one is found fails. ``@pytest.mark.shows_secret("why")``
excuses the few that show one on purpose.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import TYPE_CHECKING, Any, Final

import pytest
import redis

from agentexchange import AgentExchangeError
from agentexchange_schemas import SchemaError

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator, Iterator

    from tests._servers import RedisServer

__all__ = ["WATCH", "Hygiene", "Watch", "look_into_redis"]

# Every made-up secret of the suite is of one of these forms: new tests keep to them.
_SECRET: Final = re.compile(
    r"\b(?:ak|sk)_(?!live_(?:\W|$))\w{3,}"  # keys and their secrets; 'ak_live_...' is how help texts write a key
    r"|\bpw-[\w-]{3,}|s3cret|sEcReT9|wr0ng|hunter2"  # passwords
)
_LOGGERS: Final = ("agentexchange", "agentexchange_bridge", "websockets.client", "redis", "httpx", "httpcore")
"""Whose every line is looked at; ``websockets.server`` is the tests' own."""
_QUOTED: Final = 160  # characters around a finding that are shown, the secret itself masked
_PAGE: Final = 1000


class Watch:
    """What was found since the last look at it."""

    def __init__(self) -> None:
        self.findings: list[str] = []

    def look(self, text: str, where: str) -> None:
        """Note a secret in ``text``."""
        if found := _SECRET.search(text):
            start = max(0, found.start() - _QUOTED)
            shown = _SECRET.sub(lambda match: f"{match[0][:4]}…", text[start : found.end() + _QUOTED])
            self.findings.append(f"{where}: …{shown}…")

    def take(self) -> list[str]:
        """The findings, which are forgotten."""
        findings, self.findings = self.findings, []
        return findings


WATCH: Final = Watch()
"""The suite's own, for fixtures and helpers that see output which pytest does not."""


class _Handler(logging.Handler):
    """Looks at each record as it would be printed, its traceback included, and at its arguments' reprs."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage() if isinstance(record.msg, str) else repr(record.msg)
        if record.exc_info and record.exc_info[1] is not None:
            text += "".join(traceback.format_exception(record.exc_info[1]))
        self._watch.look(text, f"log {record.name}")
        self._watch.look(repr(record.args), f"arguments of log {record.name}")


class Hygiene:
    """The plugin."""

    def __init__(self, watch: Watch = WATCH) -> None:
        self._watch = watch
        self._handler = _Handler(watch)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "shows_secret(reason): prints a made-up key or password on purpose")

    def pytest_sessionstart(self) -> None:
        """From here on nothing is too unimportant to be looked at."""
        logging.getLogger().addHandler(self._handler)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.DEBUG)
        for kind in (AgentExchangeError, SchemaError):
            self._look_at_errors(kind)

    def _look_at_errors(self, kind: type[Exception]) -> None:
        """Of every public error, its text and repr when it is made."""
        init, watch = kind.__init__, self._watch

        def looked_at(error: Exception, *args: Any, **kwargs: Any) -> None:
            init(error, *args, **kwargs)
            watch.look(f"{error} {error!r} {vars(error)}", f"error {type(error).__name__}")

        kind.__init__ = looked_at  # type: ignore[method-assign]

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        self._watch.look(str(warning_message.message), "warning")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when != "teardown":
            return report
        for _, name, text in item._report_sections:
            self._watch.look(text, f"captured {name}")
        findings = self._watch.take()
        if findings and item.get_closest_marker("shows_secret") is None:
            report.outcome = "failed"
            report.longrepr = "\n".join(["a secret was shown:", *findings[:10]])
        return report


def look_into_redis(server: RedisServer, watch: Watch = WATCH) -> None:
    """Look at every name and value that a running server holds, if it lets its default user."""
    if not server.is_running or server.is_stopped:
        return
    try:
        with redis.Redis(unix_socket_path=server.socket_path, socket_timeout=2) as client:
            for text in _dump(client):
                watch.look(text, "Redis")
    except redis.RedisError:
        return  # it wants a password, is loading, or was ended by the test


def _dump(client: redis.Redis) -> Iterator[str]:
    """Keys with their values, the newest part of a stream, and how connections are named."""
    for number, key in enumerate(client.scan_iter(count=_PAGE)):
        if number >= _PAGE:
            break
        yield f"{key.decode(errors='replace')} {_value(client, key)}"
    yield str(client.execute_command("CLIENT", "LIST"))


def _value(client: redis.Redis, key: bytes) -> str:
    match client.type(key):
        case b"string":
            return (client.get(key) or b"").decode(errors="replace")
        case b"hash":
            return str(client.hgetall(key))
        case b"stream":
            return str(client.xrevrange(key, count=_PAGE))
        case b"set":
            return str(client.smembers(key))
        case b"zset":
            return str(client.zrange(key, 0, -1))
    return ""
