"""Logging: structlog and the standard library through one handler, secrets masked in the finished line.

A person at a terminal gets aligned columns, everything else (a container, a file, a pipe) JSON, one object a line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Final, Literal, TextIO
from urllib.parse import quote, quote_plus

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr
    from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["LEVELS", "MASK", "LogFormat", "LogLevel", "SecretMask", "configure_logs"]

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "human", "json"]
LEVELS: Final[tuple[LogLevel, ...]] = ("debug", "info", "warning", "error")

MASK: Final = "***"

_CHATTY: Final = ("asyncio", "websockets", "httpx", "httpcore")
"""Loggers that at level info tell of each connection; ours do that once, with the reason."""


class SecretMask:
    """Replaces secrets in text, also in the forms that URLs, JSON and repr give them.

    Args:
        secrets: what must not be seen; empty ones are left out.
    """

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        forms = {form for secret in secrets for form in _forms(secret.get_secret_value())}
        # longest first, so that a secret within a longer one leaves no remainder of it
        ordered = sorted(forms - {""}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __repr__(self) -> str:
        return "SecretMask()"

    def text(self, text: str) -> str:
        """``text`` with every secret replaced by `MASK`."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
        """As the last structlog processor: after the renderer, so no field or traceback is left out."""
        return self.text(str(line))


def _forms(secret: str) -> Iterable[str]:
    as_json = (json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    return (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1], *as_json)


def configure_logs(
    *,
    level: LogLevel = "info",
    format: LogFormat = "auto",  # noqa: A002 - the name of the setting
    secrets: Iterable[SecretStr] = (),
    stream: TextIO | None = None,
) -> None:
    """Send all logging of this process to ``stream`` (default: stderr), replacing earlier handlers.

    ``auto`` is human on a terminal and JSON otherwise. Debug of the libraries comes with level ``debug``.
    """
    target = sys.stderr if stream is None else stream
    human = target.isatty() if format == "auto" else format == "human"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if human else "iso", utc=not human),
        structlog.processors.StackInfoRenderer(),
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(human=human, colors=human and target.isatty()),
                SecretMask(secrets),
            ],
        )
    )
    _install(handler, level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _renderers(*, human: bool, colors: bool) -> list[Processor]:
    if human:
        # the plain formatter: rich's own would print the local variables of every frame
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _install(handler: logging.Handler, level: LogLevel) -> None:
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    quiet = logging.WARNING if level != "debug" else logging.NOTSET
    for name in _CHATTY:
        logging.getLogger(name).setLevel(quiet)
