"""A shared client that wants topics until it is killed: ``python -m tests.bridge._client_process URL TTL_S TOPIC…``."""

from __future__ import annotations

import asyncio
import sys

from tests.sdk._shared_client import SharedClient

if __name__ == "__main__":
    url, ttl_s, *topics = sys.argv[1:]
    asyncio.run(SharedClient(url, *topics, interest_ttl_s=float(ttl_s)).transport.run())
