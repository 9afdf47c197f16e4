"""A worker as a service: with its health pages, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from .health import readiness
from .http import HttpServer, Page
from .metrics import BatchMetrics, WorkerCollector, metrics_page
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from .http import HttpAddress
    from .settings import BridgeSettings
    from .stats import WorkerStats

__all__ = ["serve"]


async def serve(
    settings: BridgeSettings, stop: asyncio.Event, *, reload: Callable[[], BridgeSettings | None] = lambda: None
) -> None:
    """Run a worker until ``stop`` is set, then drain it and give its leases back.

    On SIGHUP the accounts that ``reload`` reads are served from then on; None changes nothing.

    Raises:
        OSError: the address for HTTP cannot be bound.
        AuthenticationError: upstream keeps refusing the key, and ``exit_on_auth_failure`` is set.
        LayoutError: the server holds another layout.
    """
    registry = CollectorRegistry()
    worker = Worker(settings.worker_config(), on_batch=BatchMetrics(registry).observe)
    registry.register(WorkerCollector(worker.stats))
    pages = HttpServer({
        "/healthz": lambda: Page(b"ok\n"),
        "/readyz": lambda: readiness_page(worker.stats),
        "/metrics": metrics_page(registry),
    })  # fmt: skip
    async with _listening(pages, settings.http):
        with _on_hangup(lambda: _reload(worker, settings, reload)):
            stopper = asyncio.create_task(_stop_when(stop, worker), name="stop")
            try:
                await worker.run()
            finally:
                stopper.cancel()


def readiness_page(stats: WorkerStats) -> Page:
    """``/readyz``: 200 or 503, with the reasons as JSON."""
    answer = readiness(stats)
    status = HTTPStatus.OK if answer.ready else HTTPStatus.SERVICE_UNAVAILABLE
    return Page(json.dumps(answer.to_json()).encode() + b"\n", status, "application/json")


@contextlib.asynccontextmanager
async def _listening(pages: HttpServer, address: HttpAddress | None) -> AsyncIterator[None]:
    if address is not None:
        bound = await pages.open(address)
        structlog.get_logger().info("http", url=f"http://{bound}")
    try:
        yield
    finally:
        await pages.close()


def _reload(worker: Worker, before: BridgeSettings, reload: Callable[[], BridgeSettings | None]) -> None:
    settings = reload()
    if settings is None:
        return
    worker.set_accounts(settings.accounts)
    log = structlog.get_logger()
    log.info("accounts reloaded", accounts=[account.name for account in settings.accounts])
    of_accounts = {"accounts", "api_key", "api_key_file", "api_secret", "api_secret_file"}
    others = [name for name in type(settings).model_fields if name not in of_accounts]
    if changed := [name for name in others if getattr(settings, name) != getattr(before, name)]:
        log.warning("these settings take effect at the next start", settings=changed)


@contextlib.contextmanager
def _on_hangup(act: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, act)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _stop_when(stop: asyncio.Event, worker: Worker) -> None:
    await stop.wait()
    worker.stop()
