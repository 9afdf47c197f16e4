"""``agentexchange inspect``: a web page that shows the feed, now or at any moment of the past."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._errors import CommandError, UsageError
from ._loop import run_stoppable
from ._recordings import redis_source

if TYPE_CHECKING:
    import argparse
    import asyncio
    import socket

    from pydantic import SecretStr

    from agentexchange_bridge.inspector.feed import Inspection
    from agentexchange_bridge.inspector.server import ServerOptions

__all__ = ["EPILOG", "TOKEN_VARIABLE", "add_arguments", "run"]

TOKEN_VARIABLE: Final = "AGENTEXCHANGE_INSPECT_TOKEN"  # noqa: S105 - a name
_MAX_FILE: Final = 4096  # characters

EPILOG: Final = f"""\
Shows what the logs in Redis hold and what comes, or a recording. Orders and portfolio are shown of the accounts whose
API keys are in AGENTEXCHANGE_API_KEY or --api-key-file. On this machine alone (127.0.0.1, the default) it asks for no
token unless one is set; on any other address it does: the one in {TOKEN_VARIABLE} or
--token-file, or one that it makes and prints.

examples:
  agentexchange inspect --redis-url redis://localhost:6379/0 --open
  agentexchange inspect day.axlog
  agentexchange inspect --host 0.0.0.0 --token-file /etc/agentexchange/inspect-token"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a recording instead of Redis")
    parser.add_argument("--redis-url", metavar="URL", help="Redis; default: AGENTEXCHANGE_REDIS_URL")
    parser.add_argument(
        "--api-key-file", type=Path, action="append", metavar="FILE",
        help="file that holds the API key of an account to show; again for more",
    )  # fmt: skip
    server = parser.add_argument_group("where it listens")
    server.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s, this machine alone"
    )
    server.add_argument("--port", type=int, default=8080, metavar="N", help="0: a free one (default: %(default)s)")
    server.add_argument("--token-file", type=Path, metavar="FILE", help=f"file with the token (or {TOKEN_VARIABLE})")
    server.add_argument("--open", action="store_true", help="open the page in the browser of this machine")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes.

    Raises:
        UsageError: a wrong URL, file, key, token or port.
        CommandError: Redis refuses, the recording cannot be read, or the port is taken.
    """
    inspection = _inspection(args)
    options = _options(args)
    return run_stoppable(lambda stop: _serve(inspection, options, stop, open_it=args.open))


def _inspection(args: argparse.Namespace) -> Inspection:
    from agentexchange_bridge.inspector import open_inspection
    from agentexchange_bridge.keys import find_api_key, read_key_file

    if args.file is not None and args.redis_url is not None:
        raise UsageError("inspect: name a recording or --redis-url, not both")
    try:
        own = find_api_key() if not args.api_key_file else None
        keys = [*([] if own is None else [own]), *(read_key_file(file) for file in args.api_key_file or ())]
    except ValueError as exc:
        raise UsageError(f"inspect: {exc}") from None
    url = None if args.file is not None else redis_source(args.redis_url, "inspect")
    return open_inspection(redis_url=url, recording=args.file, api_keys=keys)


def _options(args: argparse.Namespace) -> ServerOptions:
    from pydantic import SecretStr

    from agentexchange_bridge.inspector.server import ServerOptions, is_loopback
    from agentexchange_bridge.inspector.sign_in import new_token

    if not 0 <= args.port <= 65535:  # noqa: PLR2004 - TCP
        raise UsageError("inspect: --port must be 0 to 65535")
    token = _token(args.token_file)
    if token is None and not is_loopback(args.host):
        token = SecretStr(made := new_token())
        _tell(f"the token to sign in with, made for this run: {made}")
    return ServerOptions(host=args.host, port=args.port, token=token)


def _token(file: Path | None) -> SecretStr | None:
    from pydantic import SecretStr

    from agentexchange_bridge.inspector.sign_in import MIN_TOKEN

    text, place = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
    if file is not None:
        place = str(file)
        try:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(_MAX_FILE)
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"inspect: {file}: cannot be read as text") from None
    text = text.strip()
    if not text and file is None:
        return None
    if len(text) < MIN_TOKEN:
        raise UsageError(f"inspect: {place}: a token has at least {MIN_TOKEN} characters (openssl rand -hex 24)")
    return SecretStr(text)


async def _serve(inspection: Inspection, options: ServerOptions, stop: asyncio.Event, *, open_it: bool) -> int:
    from agentexchange import AgentExchangeError
    from agentexchange_bridge.inspector.server import serve

    sock = _bind(options)
    url = _url(options.host, sock.getsockname()[1])

    def ready() -> None:
        _tell(f"open {url}")
        if open_it:
            import webbrowser

            webbrowser.open(url)

    try:
        async with inspection:
            await serve(inspection, sock, options, stop=stop, ready=ready)
    except AgentExchangeError as exc:
        raise CommandError(f"inspect: {exc}") from None
    except OSError as exc:
        raise CommandError(f"inspect: {exc.filename or 'Redis'}: {exc.strerror or exc}") from None
    finally:
        sock.close()
    return 0


def _bind(options: ServerOptions) -> socket.socket:
    from agentexchange_bridge.inspector.server import bind

    try:
        return bind(options)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise CommandError(f"inspect: port {options.port} is in use: choose another with --port") from None
        raise CommandError(f"inspect: {options.host}: {exc.strerror or exc}") from None


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


def _tell(sentence: str) -> None:
    print(f"inspect: {sentence}", file=sys.stderr, flush=True)
