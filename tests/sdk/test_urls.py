from __future__ import annotations

import pytest
from pydantic import SecretStr

from agentexchange._urls import (
    API_KEY_MAX,
    RedisUrl,
    UpstreamUrl,
    api_key_secret,
    parse_base_url,
    redis_url,
    upstream_url,
)

KEY = SecretStr("ak_live_&secret=1")


@pytest.mark.parametrize(
    ("text", "connects_to"),
    [
        ("ws://localhost:8000", "ws://localhost:8000/ws/v1?api_key=ak_live_%26secret%3D1"),
        ("ws://localhost:8000/", "ws://localhost:8000/ws/v1?api_key=ak_live_%26secret%3D1"),
        ("http://example.com", "ws://example.com:80/ws/v1?api_key=ak_live_%26secret%3D1"),
        ("https://example.com", "wss://example.com:443/ws/v1?api_key=ak_live_%26secret%3D1"),
        ("WSS://Example.com/other?x=1", "wss://example.com:443/other?x=1&api_key=ak_live_%26secret%3D1"),
        ("ws://[::1]:9/a", "ws://[::1]:9/a?api_key=ak_live_%26secret%3D1"),
    ],
)
def test_the_platforms_address(text: str, connects_to: str) -> None:
    url = upstream_url(text)
    assert url.with_key(KEY) == connects_to
    assert "secret" not in f"{url} {url!r}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://localhost", RedisUrl("redis", "localhost", 6379)),
        ("redis://h:7/3", RedisUrl("redis", "h", 7, db=3)),
        ("redis://h?db=4&prefix=test", RedisUrl("redis", "h", 6379, db=4, prefix="test")),
        ("redis://:p%40ss@h", RedisUrl("redis", "h", 6379, password=SecretStr("p@ss"))),
        ("unix:///run/r.sock?db=2", RedisUrl("unix", "", 0, path="/run/r.sock", db=2)),
        (
            "rediss://u:p@h:1/0?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            RedisUrl(
                "rediss",
                "h",
                1,
                username="u",
                password=SecretStr("p"),
                ssl_ca_certs="/ca.pem",
                ssl_check_hostname=False,
            ),
        ),
    ],
)
def test_redis_addresses(text: str, expected: RedisUrl) -> None:
    assert redis_url(text) == expected


def test_a_redis_url_shows_no_password() -> None:
    url = redis_url("redis://user:hunter2@h")
    assert "hunter2" not in f"{url} {url!r}"
    assert "user" not in str(url)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ws://, wss://, http:// or https://"),
        ("localhost:8000", "ws://"),
        ("ftp://h", "redis://"),
        ("ws://", "host"),
        ("ws://a..b", "host"),
        ("ws://[::1", "host"),
        ("ws://h:x", "port"),
        ("ws://h:0", "port"),
        ("ws://h:99999", "port"),
        ("ws://user:hunter2@h", "no user or password"),
        ("ws://h?api_key=hunter2", "api_key"),
        ("ws://h#hunter2", "fragment"),
        ("ws://h/a b", "spaces"),
        ("ws://h/\r\nX: hunter2", "spaces"),
        ("ws://h/" + "x" * 3000, "2048"),
        ("redis://h/nope", "number"),
        ("redis://h?socket_timeout=5", "prefix"),
        ("redis://h?prefix=Not{valid}", "prefix"),
        ("redis://h?ssl_ca_certs=x", "rediss://"),
        ("rediss://h?ssl_check_hostname=maybe", "true or false"),
        ("unix://", "unix:///run"),
    ],
)
def test_a_wrong_address_is_a_value_error_that_says_what_is_right(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_base_url(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_each_kind_where_it_belongs() -> None:
    with pytest.raises(ValueError, match="ws://"):
        upstream_url("redis://h")
    with pytest.raises(ValueError, match="redis://"):
        redis_url("ws://h")


@pytest.mark.parametrize("key", [None, "", "  ", "a b", "k\n", "ключ", "k" * (API_KEY_MAX + 1)])
def test_a_missing_or_malformed_key(key: str | None) -> None:
    with pytest.raises(ValueError, match="api_key"):
        api_key_secret(key)


def test_a_key_may_come_wrapped() -> None:
    assert api_key_secret(KEY) == KEY


@pytest.mark.parametrize(
    ("host", "loopback"), [("localhost", True), ("127.8.0.1", True), ("::1", True), ("10.0.0.1", False), ("h", False)]
)
def test_loopback(host: str, *, loopback: bool) -> None:
    assert UpstreamUrl(secure=False, host=host, port=1, path="/").is_loopback is loopback
