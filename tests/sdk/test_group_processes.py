"""Groups and durable positions as processes that are killed and stopped: who handled what, by their journals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import encode, log_id
from tests._patience import PATIENCE_S
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._shared_client import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests._servers import RedisServer

pytestmark = pytest.mark.server
ACCOUNT = account_scope(KEY)
LOG = f"ax:{{{ACCOUNT}}}:log"


@dataclass
class Program:
    """One `_member_process`, and what its journal says."""

    process: subprocess.Popen[bytes]
    journal: Path

    @property
    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.journal.read_text().splitlines()] if self.journal.exists() else []

    @property
    def handled(self) -> list[int]:
        return [int(line[0]) for line in self.lines if line[0] != "!"]

    @property
    def gaps(self) -> list[list[str]]:
        return [line for line in self.lines if line[0] == "!"]

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.send_signal(signal.SIGCONT)
        return self.process.wait(15)


async def eventually(condition: Callable[[], bool]) -> None:
    """Rarely enough that reading journals leaves the programs their processor."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - other processes tell it
            await asyncio.sleep(0.03)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def begin(server: RedisServer, *, handler_s: float = 0.0, **options: Any) -> Program:
        journal = tmp_path / f"journal-{len(programs)}"
        module = ("-m", "tests.sdk._member_process")
        arguments = (server.url, str(journal), json.dumps(options), str(handler_s))
        process = subprocess.Popen([sys.executable, *module, *arguments])
        programs.append(Program(process, journal))
        return programs[-1]

    yield begin
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait(10)


def orders(writer: LayoutWriter, numbers: range) -> None:
    """Write many at once."""
    pipe = writer.client.pipeline(transaction=False)
    for number in numbers:
        writer.received_us += 1
        seq = writer.seqs["orders"] = writer.seqs.get("orders", 0) + 1
        raw = encode("orders", writer.epoch, seq, None, writer.received_us, {"order_id": str(number), "status": "new"})
        pipe.xadd(LOG, {"e": raw}, id=log_id(writer.received_us))
    pipe.hset(writer.layout.seq(ACCOUNT), "orders", writer.seqs["orders"])
    pipe.execute()


async def joined(writer: LayoutWriter, command: str, programs: int) -> None:
    def waiting() -> int:
        with contextlib.suppress(Exception):
            return sum(client["cmd"] == command for client in writer.client.client_list())
        return 0

    await eventually(lambda: waiting() >= programs)


def report(*programs: Program) -> tuple[set[int], set[int]]:
    """What was handled, and what was handled twice."""
    times = Counter(number for program in programs for number in program.handled)
    return set(times), {number for number, count in times.items() if count > 1}


def pending(writer: LayoutWriter, consumer: str = "") -> int:
    """What members hold whose names begin so."""
    found: Any = writer.client.xinfo_consumers(LOG, "executors")
    return sum(int(member["pending"]) for member in found if member["name"].decode().startswith(consumer))


async def stop_in_the_middle(writer: LayoutWriter, program: Program, consumer: str, written: int) -> int:
    """Stop a member while it holds something; how many orders are written by then."""
    program.send(signal.SIGSTOP)
    while not pending(writer, consumer):  # it had just acknowledged everything
        program.send(signal.SIGCONT)
        orders(writer, range(written, written + 500))
        written += 500
        await asyncio.sleep(0.02)
        program.send(signal.SIGSTOP)
    return written


async def test_two_processes_ten_thousand_orders_one_killed_in_the_middle(
    account: LayoutWriter, redis_server: RedisServer, start: Callable[..., Program]
) -> None:
    one, two = (
        start(redis_server, group="executors", consumer=name, claim_after=1.5, handler_s=0.0001)
        for name in ("one", "two")
    )
    await joined(account, "xreadgroup", 2)
    orders(account, range(10_000))
    await eventually(lambda: len(one.handled) > 500)
    written = await stop_in_the_middle(account, one, "one", 10_000)
    one.end(signal.SIGKILL)
    await eventually(lambda: len(report(one, two)[0]) == written)
    await eventually(lambda: pending(account) == 0)
    _, twice = report(one, two)
    again = {int(line[0]) for line in two.lines if line[1] == "redelivered"}
    assert twice == again & set(one.handled), "only what the dead one had handled and not acknowledged"
    assert len(twice) <= 1000  # of the tenth of a second between two acknowledgements
    assert len(again) <= 500  # what it held
    assert two.end() == 0


async def test_a_member_stopped_for_long_doubles_nothing_that_it_had_not_begun(
    account: LayoutWriter, redis_server: RedisServer, start: Callable[..., Program]
) -> None:
    one, two = (start(redis_server, group="executors", claim_after=0.8, handler_s=0.003) for _ in range(2))
    await joined(account, "xreadgroup", 2)
    orders(account, range(1500))
    await eventually(lambda: len(one.handled) > 50)
    one.send(signal.SIGSTOP)
    held = len(one.handled)
    await eventually(lambda: len(report(one, two)[0]) >= 1499 or len(two.handled) >= 1500 - held)
    one.send(signal.SIGCONT)
    await eventually(lambda: pending(account) == 0)
    everything, twice = report(one, two)
    assert everything == set(range(1500))
    assert len(twice) <= 60  # begun, or handled in the tenth of a second before it was stopped
    assert [program.end() for program in (one, two)] == [0, 0]


async def test_a_redis_restart_loses_and_doubles_nothing(
    make_redis: Callable[..., RedisServer], start: Callable[..., Program]
) -> None:
    """With every write on disk before it is answered: then Redis forgets nothing."""
    server = make_redis(appendonly=True, options={"appendfsync": "always"})
    with contextlib.closing(LayoutWriter(server.url, ACCOUNT)) as account:
        account.lease()
        programs = [start(server, group="executors", claim_after=5, handler_s=0.0005) for _ in range(2)]
        await joined(account, "xreadgroup", 2)
        orders(account, range(3000))
        await eventually(lambda: len(report(*programs)[0]) > 500)
        server.restart()
        await eventually(lambda: len(report(*programs)[0]) == 3000)
        await eventually(lambda: pending(account) == 0)
        assert report(*programs)[1] == set()
        assert [program.end() for program in programs] == [0, 0]


async def test_a_resumed_program_that_was_killed_misses_nothing(
    account: LayoutWriter, redis_server: RedisServer, start: Callable[..., Program]
) -> None:
    first = start(redis_server, resume="crew-7", handler_s=0.0005)
    await joined(account, "xread", 1)
    orders(account, range(2000))
    await eventually(lambda: len(first.handled) > 500)
    first.end(signal.SIGKILL)
    orders(account, range(2000, 3000))
    account.client.delete(f"ax:{{{ACCOUNT}}}:pos:crew-7:holder")  # its ten seconds
    second = start(redis_server, resume="crew-7")
    await eventually(lambda: report(first, second)[0] == set(range(3000)))
    _, twice = report(first, second)
    assert second.handled == list(range(min(second.handled), 3000))
    assert len(twice) <= 400  # of the tenth of a second between two savings
    assert second.end() == 0


async def test_a_stopped_holder_that_comes_back_ends_with_an_error(
    account: LayoutWriter, redis_server: RedisServer, start: Callable[..., Program]
) -> None:
    first = start(redis_server, resume="crew-7")
    await joined(account, "xread", 1)
    orders(account, range(10))
    await eventually(lambda: len(first.handled) == 10)
    first.send(signal.SIGSTOP)
    account.client.delete(f"ax:{{{ACCOUNT}}}:pos:crew-7:holder")  # its ten seconds
    second = start(redis_server, resume="crew-7")
    await joined(account, "xread", 2)
    orders(account, range(10, 20))
    await eventually(lambda: second.handled[-1:] == [19])
    first.send(signal.SIGCONT)
    assert await asyncio.to_thread(first.process.wait, 15) == 1
    assert second.end() == 0
