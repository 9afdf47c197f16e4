"""A bridge worker as a process of its own, to kill and stop: ``UPSTREAM_URL REDIS_URL KEY WORKER_ID``."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys

from agentexchange._urls import api_key_secret, redis_url, upstream_url
from agentexchange_bridge.accounts import Account
from agentexchange_bridge.config import WorkerConfig
from agentexchange_bridge.worker import Worker

_PR_SET_PDEATHSIG = 1


async def main(upstream: str, redis: str, key: str, worker_id: str) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    worker = Worker(
        WorkerConfig(
            upstream_url=upstream_url(upstream),
            accounts=(Account("default", api_key_secret(key)),),
            redis_url=redis_url(redis),
            worker_id=worker_id,
        )
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
