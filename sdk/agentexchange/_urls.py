"""``base_url``: where to connect, checked once and never printed with a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from pydantic import SecretStr

from agentexchange_schemas import Layout, LayoutError

from ._file_url import FileUrl, file_url

__all__ = [
    "API_KEY_MAX",
    "FileUrl",
    "RedisUrl",
    "UpstreamUrl",
    "address",
    "api_key_secret",
    "is_loopback",
    "parse_base_url",
    "redis_url",
    "upstream_url",
]

API_KEY_MAX: Final = 256
"""Characters of an API key."""

_URL_MAX: Final = 2048
_UPSTREAM_PATH: Final = "/ws/v1"
_UPSTREAM: Final = {"ws": False, "http": False, "wss": True, "https": True}
_REDIS: Final = ("redis", "rediss", "unix")
_FILE: Final = "file"
_VALID: Final = (
    "ws://, wss://, http:// or https:// (straight to the platform), redis://, rediss:// or unix:// (shared), "
    "or file:// (a recording)"
)
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_DEFAULT_PREFIX: Final = "ax"


def address(host: str, port: int) -> str:
    """``host:port`` as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


@dataclass(frozen=True, slots=True)
class UpstreamUrl:
    """The platform's WebSocket endpoint, without the key."""

    secure: bool
    host: str
    port: int
    path: str
    query: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where no proxy may come between."""
        return is_loopback(self.host)

    def with_key(self, api_key: SecretStr) -> str:
        """The address to connect to. It holds the key: never log or show it."""
        query = f"{self.query}&" if self.query else ""
        return f"{self}?{query}api_key={quote(api_key.get_secret_value(), safe='')}"

    def __str__(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{address(self.host, self.port)}{self.path}"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A Redis server. ``path`` is the socket's for ``unix``, else None."""

    scheme: str
    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: SecretStr | None = None
    prefix: str = _DEFAULT_PREFIX
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool = True

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme == "rediss"

    def __str__(self) -> str:
        """Print it without user and password."""
        if self.path is not None:
            return f"unix://{self.path}?db={self.db}"
        return f"{self.scheme}://{address(self.host, self.port)}/{self.db}"


def api_key_secret(api_key: str | SecretStr | None) -> SecretStr:
    """Check and wrap the key.

    Raises:
        ValueError: missing, too long, or with white space or other than printable ASCII.
    """
    text = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
    if text is None or not text.strip():
        raise ValueError("api_key is missing: pass the platform's key, such as 'ak_live_...'")
    if len(text) > API_KEY_MAX or not all("!" <= character <= "~" for character in text):
        raise ValueError(f"api_key is not valid: use 1 to {API_KEY_MAX} printable ASCII characters without spaces")
    return SecretStr(text)


def parse_base_url(base_url: str) -> UpstreamUrl | RedisUrl | FileUrl:
    """Read a ``base_url`` of any kind; the scheme decides.

    Raises:
        ValueError: not an address of one of these schemes; the message never repeats the URL, which may hold secrets.
    """
    parts = _split(base_url)
    if parts.scheme == _FILE:
        return file_url(parts)
    return _redis(parts) if parts.scheme in _REDIS else _upstream(parts)


def upstream_url(text: str) -> UpstreamUrl:
    """Read the platform's address.

    Raises:
        ValueError: not a ws, wss, http or https URL.
    """
    url = parse_base_url(text)
    if isinstance(url, UpstreamUrl):
        return url
    raise ValueError("the platform's URL must begin with ws://, wss://, http:// or https://")


def redis_url(text: str) -> RedisUrl:
    """Read a Redis server's address.

    Raises:
        ValueError: not a redis, rediss or unix URL.
    """
    url = parse_base_url(text)
    if isinstance(url, RedisUrl):
        return url
    raise ValueError("the Redis URL must begin with redis://, rediss:// or unix://")


def _split(base_url: str) -> SplitResult:
    text = str(base_url).strip()
    if len(text) > _URL_MAX or any(character <= " " or character == "\x7f" for character in text):
        raise ValueError(f"base_url must be a URL of at most {_URL_MAX} characters without spaces")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("base_url has a malformed host or port") from None
    if parts.scheme not in (*_UPSTREAM, *_REDIS, _FILE) or "://" not in text:
        raise ValueError(f"base_url must begin with {_VALID}")
    if parts.fragment:
        raise ValueError("base_url must have no #fragment")
    return parts


def _upstream(parts: SplitResult) -> UpstreamUrl:
    secure = _UPSTREAM[parts.scheme]
    if parts.username is not None or parts.password is not None:
        raise ValueError("base_url must hold no user or password: the platform knows you by api_key")
    if "api_key" in dict(parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("base_url must not hold api_key: pass it as the argument of that name")
    return UpstreamUrl(
        secure=secure,
        host=_host(parts),
        port=_port(parts, 443 if secure else 80),
        path=parts.path if parts.path.strip("/") else _UPSTREAM_PATH,
        query=parts.query,
    )


def _host(parts: SplitResult) -> str:
    if not parts.hostname:
        raise ValueError("base_url names no host: write for example ws://localhost:8000")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError("base_url has a malformed host") from None
    return parts.hostname


def _port(parts: SplitResult, default: int) -> int:
    if parts.port == 0:
        raise ValueError("base_url has port 0: use 1 to 65535")
    return parts.port or default


def _redis(parts: SplitResult) -> RedisUrl:
    options = _redis_options(parts.query)
    db_text = options.pop("db", "")
    socket_path = None
    if parts.scheme == "unix":
        socket_path = unquote(parts.path)
        if socket_path in ("", "/"):
            raise ValueError("a unix:// URL must name the socket: unix:///run/redis/redis.sock?db=0")
    else:
        db_text = parts.path.strip("/") or db_text
    if parts.scheme != "rediss" and any(name.startswith("ssl_") for name in options):
        raise ValueError("ssl_ options need a rediss:// URL")
    return RedisUrl(
        scheme=parts.scheme,
        host="" if socket_path is not None else _host(parts),
        port=0 if socket_path is not None else _port(parts, 6379),
        path=socket_path,
        db=_db(db_text),
        username=unquote(parts.username) if parts.username else None,
        password=SecretStr(unquote(parts.password)) if parts.password else None,
        prefix=_prefix(options.get("prefix", _DEFAULT_PREFIX)),
        ssl_ca_certs=options.get("ssl_ca_certs"),
        ssl_certfile=options.get("ssl_certfile"),
        ssl_keyfile=options.get("ssl_keyfile"),
        ssl_check_hostname=_flag(options.get("ssl_check_hostname", "true")),
    )


def _redis_options(query: str) -> dict[str, str]:
    valid = ("db", "prefix", *_TLS_FILES, "ssl_check_hostname")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not options.keys() <= set(valid):
        raise ValueError(f"the Redis URL has an unknown option: use {', '.join(valid)}")
    return options


def _db(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):  # noqa: PLR2004 - databases are few
        raise ValueError("the Redis URL's database must be a number, such as redis://localhost:6379/0")
    return int(text)


def _prefix(text: str) -> str:
    try:
        Layout(text)
    except LayoutError as exc:
        raise ValueError(f"the Redis URL's prefix is not valid: {exc}") from None
    return text


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("ssl_check_hostname must be true or false")
    return text.lower() in ("true", "1")
