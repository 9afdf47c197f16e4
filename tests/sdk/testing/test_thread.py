"""The sandbox in a thread, for callers without an event loop."""

from __future__ import annotations

import threading

import pytest
from websockets.sync.client import connect

from agentexchange.testing import SandboxThread
from tests.sdk.testing._bare import QUIET


def endpoint(sandbox: SandboxThread) -> str:
    return f"{sandbox.url}/ws/v1?api_key=ak_live_sandbox"


def test_a_plain_test_can_use_it() -> None:
    with SandboxThread(rate=0, pairs=3) as sandbox, connect(endpoint(sandbox), logger=QUIET) as client:
        client.send('{"action":"subscribe","channel":"ticker","symbol":"BTCUSDT"}')
        sandbox.call(sandbox.control.wait_for_subscriptions, "ticker:BTCUSDT")
        sandbox.call(sandbox.control.push_tick, "BTCUSDT", price="5")
        assert client.recv(timeout=10) == '{"type":"subscribed","channel":"ticker:BTCUSDT"}'
        assert '"price":"5"' in str(client.recv(timeout=10))
        assert sandbox.port == int(sandbox.url.rpartition(":")[2])


def test_errors_come_back_to_the_caller() -> None:
    with SandboxThread(rate=0, pairs=3) as sandbox:
        with pytest.raises(ValueError, match="rate"):
            sandbox.call(sandbox.control.set_rate, -1)
        with pytest.raises(TimeoutError, match="1 pongs"):
            sandbox.call(sandbox.control.wait_for_pongs, 1, timeout=0.01)


def test_its_thread_ends_with_it() -> None:
    with SandboxThread(rate=0, pairs=3) as sandbox:
        assert "sandbox-exchange" in {thread.name for thread in threading.enumerate()}
    assert "sandbox-exchange" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="does not run"):
        sandbox.call(sandbox.control.ping)


def test_a_failed_start_leaves_no_thread() -> None:
    with SandboxThread(rate=0, pairs=3) as first:
        with pytest.raises(OSError, match="address already in use"), SandboxThread(port=first.port):
            pass
        assert sum(thread.name == "sandbox-exchange" for thread in threading.enumerate()) == 1


@pytest.mark.sandbox_exchange(rate=0, pairs=2)
def test_the_fixture_takes_the_marker_s_options(sandbox_thread: SandboxThread) -> None:
    assert len(sandbox_thread.control.symbols) == 2
