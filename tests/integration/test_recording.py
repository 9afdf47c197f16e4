"""A recorder beside a bridge that is killed: what it recorded is what the logs got, blind span included."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from agentexchange.recording import Recording
from agentexchange.testing import SandboxExchange
from agentexchange_schemas import FeedStatus, Layout, account_scope
from tests.bridge.cli._run import run, start
from tests.integration._system import KEY, eventually, worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer

ACCOUNT = account_scope(KEY)
LAYOUT = Layout()
LOGS = {("m0", "log"): LAYOUT.log("m0"), (ACCOUNT, "log"): LAYOUT.log(ACCOUNT)}


@pytest.mark.server
async def test_what_was_recorded_is_what_the_logs_got_though_bridge_and_recorder_were_killed(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis = Redis.from_url(redis_server.url)
    day = tmp_path / "day.axlog"
    record = ("record", "--url", redis_server.url, "--out", str(day), "--from", "1h ago", "--block-s", "0.1")
    async with SandboxExchange(rate=1000, order_rate=20, api_keys=[KEY]) as exchange:
        recorder = start(*record, key=KEY)
        async with recorder:
            with worker(exchange.url, redis_server.url, log=tmp_path / "first.log") as bridge:
                await eventually(lambda: _recorded(day) > 500)
                bridge.end(signal.SIGKILL)
            with worker(exchange.url, redis_server.url, log=tmp_path / "second.log"):
                await eventually(lambda: "takeover" in _causes(day))
                assert recorder._process is not None
                recorder._process.kill()
                await recorder.end()
                before = _recorded(day)
                async with start(*record, key=KEY) as again:
                    await eventually(lambda: _recorded(day) > before + 500)
                    assert await again.end() == 0
    with Recording(day) as recording:
        assert (recording.is_closed, recording.cut) == (True, None)
        places = [event.envelope.received_us for event in recording.events()]
        assert places == sorted(places)
        for lane, log in LOGS.items():
            found = [raw for got, raws in recording.runs() if (got.scope, got.log) == lane for raw in raws]
            in_log = [entry[b"e"] for _, entry in redis.xrange(log)]
            assert len(found) > 10
            assert found == in_log[: len(found)]

    again = await run("import", str(day), "--redis-url", redis_server.url, "--prefix", "again")
    assert again.code == 0
    copy = tmp_path / "copy.axlog"
    exported = await run("export", "--url", f"{redis_server.url}?prefix=again", "--out", str(copy), key=KEY)
    assert exported.code == 0
    assert _bytes(copy) == _bytes(day)
    redis.close()


def _recorded(path: Path) -> int:
    if not path.exists() or not path.stat().st_size:
        return 0
    with Recording(path) as recording:
        return recording.count


def _causes(path: Path) -> set[str | None]:
    with Recording(path) as recording:
        notices = [event for event in recording.events() if event.envelope.topic == "status"]
    return {FeedStatus.from_fields(event.envelope.data).cause for event in notices}


def _bytes(path: Path) -> list[bytes]:
    with Recording(path) as recording:
        return [raw for _, raws in recording.runs() for raw in raws]
