"""The types of settings that are more than a number or a word, each read from the text that a flag or a variable gives.

All raise `ValueError` with what is wrong, which pydantic reports with the field's name.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainValidator
from pydantic_settings import NoDecode

from agentexchange._urls import RedisUrl, UpstreamUrl, redis_url, upstream_url
from agentexchange_bridge.accounts import Account
from agentexchange_bridge.http import HttpAddress
from agentexchange_bridge.rest import RestUrl, rest_url
from agentexchange_schemas import Topic

__all__ = ["CertificateFile", "Http", "MarketTopics", "ReadAccounts", "Redis", "Rest", "Upstream"]

_OFF: Final = "off"


def _topics(value: object) -> object:
    """From the environment: a list with commas."""
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        raise ValueError("must be a list of topics, such as ['ticker:all']")  # noqa: TRY004 - pydantic reports ValueErrors
    topics = [text if isinstance(text, Topic) else Topic.parse(text) for text in texts if text != ""]
    if any(topic.is_private for topic in topics):
        raise ValueError("orders and portfolio are not listed here: they come with the setting 'account'")
    return tuple(dict.fromkeys(topics))


def _http(value: object) -> HttpAddress | None:
    if value is None or isinstance(value, HttpAddress):
        return value
    return None if str(value).lower() == _OFF else HttpAddress.parse(str(value))


def _upstream(value: Any) -> UpstreamUrl:
    return value if isinstance(value, UpstreamUrl) else upstream_url(value)


def _redis(value: Any) -> RedisUrl:
    return value if isinstance(value, RedisUrl) else redis_url(value)


def _rest(value: Any) -> RestUrl | None:
    return value if value is None or isinstance(value, RestUrl) else rest_url(str(value))


def _certificates(value: Any) -> Path | None:
    if value is None:
        return None
    path = Path(value)
    try:
        ssl.create_default_context(cafile=path)
    except OSError as exc:  # ssl.SSLError is one, too
        raise ValueError(f"holds no certificates in PEM that can be read ({exc.strerror or exc})") from None
    return path


def _read_already(value: Any) -> tuple[Account, ...]:
    if not isinstance(value, tuple):
        raise ValueError("accounts are [[account]] tables of the --config file")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


MarketTopics = Annotated[tuple[Topic, ...], NoDecode, BeforeValidator(_topics)]
Http = Annotated[HttpAddress | None, NoDecode, PlainValidator(_http)]
Upstream = Annotated[UpstreamUrl, NoDecode, PlainValidator(_upstream)]
Redis = Annotated[RedisUrl, NoDecode, PlainValidator(_redis)]
Rest = Annotated[RestUrl | None, NoDecode, PlainValidator(_rest)]
CertificateFile = Annotated[Path | None, PlainValidator(_certificates)]
ReadAccounts = Annotated[tuple[Account, ...], NoDecode, PlainValidator(_read_already)]
