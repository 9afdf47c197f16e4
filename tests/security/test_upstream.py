"""A hostile platform costs one counted error or one reconnect: the good events before and after it all arrive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from agentexchange_schemas import Topic
from tests._patience import PATIENCE_S
from tests.sdk.upstream._feeds import Sink, make_feed, make_pool, running

from ._attack import COUNTED, RECONNECT, Attack
from ._upstream import HANDSHAKES, SESSIONS, HostileServer

if TYPE_CHECKING:
    from agentexchange.upstream import UpstreamFeed, UpstreamPool

MOST_MEMORY = 64 * 2**20
QUICK: dict[str, Any] = {"open_timeout_s": 0.5, "close_timeout_s": 0.2, "stale_after_s": 2.0, "random": lambda: 0.0}


async def quick_sleep(delay: float) -> None:
    await asyncio.sleep(min(delay, 0.05))


def feed_of(server: HostileServer, sink: Sink) -> UpstreamFeed:
    return make_feed(server.url, sink, "ticker:BTCUSDT", sleep=quick_sleep, **QUICK)


@pytest.mark.parametrize("attack", SESSIONS, ids=str)
async def test_an_attack_in_a_session(attack: Attack, caplog: pytest.LogCaptureFixture) -> None:
    sink, before = Sink(), psutil.Process().memory_info().rss
    async with HostileServer(session=attack.do, is_survived=attack.outcome != RECONNECT).running() as server:
        feed = feed_of(server, sink)
        async with running(feed) as task:
            await sink.until(lambda: sink.prices == ["0", "1", "2", "3", "4", "5"])
            assert not task.done()
            assert sum(feed.stats.junk.values()) == len(sink.junk) == (attack.outcome == COUNTED)
            assert feed.stats.sessions == 1 + (attack.outcome == RECONNECT)
            assert feed.stats.refused_topics == 0
    assert psutil.Process().memory_info().rss - before < MOST_MEMORY
    assert len([record for record in caplog.records if record.name != "asyncio"]) < 20


@pytest.mark.parametrize("attack", HANDSHAKES, ids=str)
async def test_an_attack_on_the_handshake(attack: Attack) -> None:
    sink, before = Sink(), psutil.Process().memory_info().rss
    async with HostileServer(handshake=attack.do).running() as server:
        feed = feed_of(server, sink)
        async with running(feed) as task:
            await sink.until(lambda: sink.prices == ["0", "1", "2", "3", "4", "5"])
            assert not task.done()
            assert feed.stats.sessions == 2
            assert server.connections >= 3, "the attack was met; a good handshake may be tried again on a busy machine"
    assert psutil.Process().memory_info().rss - before < MOST_MEMORY


def pool_of(server: HostileServer, sink: Sink) -> UpstreamPool:
    return make_pool(server.url, sink, "ticker:BTCUSDT", options={"sleep": quick_sleep, **QUICK})


@pytest.mark.parametrize("make", [feed_of, pool_of])
async def test_a_stray_error_is_undone_by_the_acknowledgement(make: Any) -> None:
    """An error names no topic: it is taken for the answer to the oldest request, until that is answered."""
    sink = Sink()
    async with HostileServer(stray_errors=3).running() as server:
        feed = make(server, sink)
        async with running(feed) as task:
            await sink.until(lambda: len(sink.prices) == 3 and topic_states(sink)[-1:] == ["live"])
            assert topic_states(sink) == ["unavailable", "live"]
            feed.subscribe(Topic.parse("ticker:ETHUSDT"))
            async with asyncio.timeout(PATIENCE_S):
                while not server.asked:  # noqa: ASYNC110 - another task's list
                    await asyncio.sleep(0.01)
            assert [message["action"] for message in server.asked] == ["subscribe"], "the topic was not left"
            assert not task.done()


def topic_states(sink: Sink) -> list[str]:
    return [str(status.state) for status in sink.statuses if status.topic == "ticker:BTCUSDT"]
