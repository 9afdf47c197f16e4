"""Is the platform there, and does it take the key?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from websockets.exceptions import InvalidHandshake, InvalidStatus

from agentexchange.upstream import FeedOptions
from agentexchange.upstream._connect import open_connection

from ._result import Finding, fail, ok, warn

if TYPE_CHECKING:
    from pydantic import SecretStr

    from agentexchange._urls import UpstreamUrl

__all__ = ["check_upstream"]

_REFUSED: Final = (401, 403)
_OPTIONS: Final = FeedOptions(open_timeout_s=10.0, close_timeout_s=1.0)


async def check_upstream(url: UpstreamUrl, api_key: SecretStr | None) -> Finding:
    """One handshake; without a key only whether somebody answers."""
    try:
        session = await open_connection(url, api_key, _OPTIONS)
    except InvalidStatus as exc:
        return _refusal(url, exc.response.status_code, has_key=api_key is not None)
    except InvalidHandshake as exc:
        return fail("platform", f"{url} is no WebSocket server ({type(exc).__name__})", "correct --upstream-url")
    except (OSError, EOFError) as exc:
        what = getattr(exc, "strerror", None) or type(exc).__name__
        return fail("platform", f"{url} cannot be reached: {what}", "correct --upstream-url, or look at the network")
    await session.close()
    return ok("platform", f"{url} answers" + (" and takes the key" if api_key else ""))


def _refusal(url: UpstreamUrl, status: int, *, has_key: bool) -> Finding:
    if status not in _REFUSED:
        return fail("platform", f"{url} answers with HTTP {status}", "correct --upstream-url")
    if not has_key:
        return warn("platform", f"{url} answers; the key was not checked", "set AGENTEXCHANGE_API_KEY to check it")
    fix = "give a key that the platform knows and whose account is active (it also refuses while its database is down)"
    return fail("platform", f"{url} refuses the API key (HTTP {status})", fix)
