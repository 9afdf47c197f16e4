"""The sandbox in a thread of its own, for programs and tests without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any, Self, Unpack

from agentexchange.testing._sandbox import SandboxExchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange.testing._control import SandboxControl
    from agentexchange.testing._options import SandboxKeywords

__all__ = ["SandboxThread"]

_CALL_TIMEOUT = 60.0


class SandboxThread:
    """``with SandboxThread(rate=100) as sandbox:`` runs a sandbox beside the caller.

    The options are those of ``SandboxExchange``. The control object belongs to the sandbox's thread:
    ``sandbox.call(sandbox.control.push_tick, "BTCUSDT", price="64000")`` uses it from any other.

    Raises:
        ValueError: an option outside its range.
        OSError: on entering, when the address cannot be listened on.
    """

    def __init__(self, **options: Unpack[SandboxKeywords]) -> None:
        self._exchange = SandboxExchange(**options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return self._exchange.url

    @property
    def rest_url(self) -> str:
        """The base URL of REST."""
        return self._exchange.rest_url

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._exchange.port

    @property
    def control(self) -> SandboxControl:
        """The control object; use it through ``call``."""
        return self._exchange.control

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox-exchange", daemon=True)
        self._thread.start()
        try:
            self.call(self._exchange.start)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.call(self._exchange.stop)
        finally:
            self._end()

    def _end(self) -> None:
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``function`` in the sandbox's thread and return what it returns; a coroutine is awaited there.

        Raises:
            Exception: what ``function`` raises.
            RuntimeError: the sandbox does not run.
            TimeoutError: no result within 60 seconds.
        """
        if self._loop is None:
            raise RuntimeError("the sandbox does not run: enter it with a with statement")

        async def run() -> Any:
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_CALL_TIMEOUT)
