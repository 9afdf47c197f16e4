"""Steering a replay, and its ends."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import FeedStatus, RecordingError, ReplayProgress, UsageError
from tests._patience import PATIENCE_S
from tests.sdk.recording._samples import ACCOUNT, MARKET, START_US, tick, ticks, write
from tests.sdk.replay._play import BTC, ETH, Calls, a_day, eth, notice, order, within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def seqs(*numbers: int) -> list[tuple[str, int]]:
    return [(BTC, number) for number in numbers]


def at(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START_US + us)


@pytest.fixture
def tens(tmp_path: Path) -> Path:
    """Ten ticks, a second apart."""
    content = [tick(number, received_us=START_US + number * 1_000_000) for number in range(10)]
    return write(tmp_path / "tens.axlog", [(MARKET, content)])


class Steps:
    """A replay whose handler the test lets return, event by event."""

    def __init__(self, path: Path, query: str = "speed=0", topic: str = BTC) -> None:
        self.calls = Calls(path, query=query)
        self.ws, self.control, self.seen = self.calls.ws, self.calls.control, self.calls.seen
        self.may_return = asyncio.Semaphore(0)

        @self.ws.on_ticker(topic.partition(":")[2])
        async def on_tick(data: Any, meta: Any) -> None:
            self.calls.put((meta.topic, meta.seq))
            await self.may_return.acquire()

    async def let(self, count: int) -> None:
        """Let so many calls return, and wait until the next one is under way."""
        target = len(self.seen) + count
        for _ in range(count):
            self.may_return.release()
        await self.calls.until(target)


# Pace


async def test_events_come_when_they_are_due(tens: Path) -> None:
    calls = Calls(tens, query="speed=2").on(BTC)
    timeline = calls.timed()
    playing = asyncio.create_task(calls.play())
    await calls.until(1)
    for number in range(2, 5):
        await timeline.until_asleep(0.5)
        assert len(calls.seen) == number - 1
        timeline.advance(0.5)
        await calls.until(number)
    calls.control.speed = 10
    await timeline.until_asleep(0.1)
    timeline.advance(0.25)
    await calls.until(6)
    calls.control.speed = 0
    await within(playing)
    assert calls.seen == seqs(*range(1, 11))


async def test_what_is_late_is_told_and_caught_up_with(tens: Path) -> None:
    calls = Calls(tens, query="speed=1")
    timeline = calls.timed()
    progress: list[ReplayProgress] = []

    @calls.ws.on_ticker("BTCUSDT")
    async def slow(data: Any, meta: Any) -> None:
        calls.put(meta.seq)
        if meta.seq == 1:
            timeline.advance(4.5)
        progress.append(calls.control.progress)

    playing = asyncio.create_task(calls.play())
    await calls.until(5)
    await timeline.until_asleep(0.5)
    assert [one.behind_s for one in progress] == pytest.approx([4.5, 3.5, 2.5, 1.5, 0.5])
    assert calls.control.progress.behind_s == 0
    calls.control.speed = 0
    await within(playing)


async def test_a_start_before_the_first_event_is_not_waited_for(tens: Path) -> None:
    calls = Calls(tens, query="speed=1").on(BTC)
    calls.ws.replay(at(-3_600_000_000), at(1), progress_bar=False)
    calls.timed()
    assert await calls.play() == seqs(1)


# Steering


async def test_it_pauses_between_events_steps_and_goes_on(tens: Path) -> None:
    steps = Steps(tens)
    playing = asyncio.create_task(steps.calls.play())
    await steps.calls.until(1)
    steps.control.pause()
    await steps.let(0)
    steps.may_return.release()
    await within(until_paused(steps.control))
    assert steps.seen == seqs(1)
    steps.control.step(2)
    await steps.calls.until(2)
    await steps.let(1)
    steps.may_return.release()
    await asyncio.sleep(0.02)
    assert steps.seen == seqs(1, 2, 3)
    for _ in range(10):
        steps.may_return.release()
    steps.control.resume()
    await within(playing)
    assert steps.seen == seqs(*range(1, 11))


async def until_no_thread() -> None:
    while any(thread.name == "agentexchange:replay" for thread in threading.enumerate()):  # noqa: ASYNC110 - as below
        await asyncio.sleep(0.001)


async def until_paused(control: Any) -> None:
    while not control.progress.is_paused:  # noqa: ASYNC110 - there is no event that tells it
        await asyncio.sleep(0.001)


async def test_paused_before_it_begins_it_begins_paused(tens: Path) -> None:
    calls = Calls(tens).on(BTC)
    calls.control.pause()
    playing = asyncio.create_task(calls.play())
    await until_paused(calls.control)
    assert calls.seen == []
    calls.control.step()
    await calls.until(1)
    calls.control.step(3)
    await calls.until(4)
    await asyncio.sleep(0.01)
    assert calls.seen == seqs(1, 2, 3, 4)
    calls.control.stop()
    await within(playing)
    assert calls.seen == seqs(1, 2, 3, 4)


async def test_stepping_a_replay_that_runs_pauses_it(tens: Path) -> None:
    steps = Steps(tens)
    playing = asyncio.create_task(steps.calls.play())
    await steps.calls.until(1)
    steps.control.step(2)
    for _ in range(5):
        steps.may_return.release()
    await within(until_paused(steps.control))
    await steps.calls.until(3)
    await asyncio.sleep(0.01)
    assert steps.seen == seqs(1, 2, 3)
    steps.ws.stop()
    await within(playing)


async def test_a_step_does_not_wait_for_its_time_which_goes_on_from_there(tens: Path) -> None:
    calls = Calls(tens, query="speed=1").on(BTC)
    timeline = calls.timed()
    calls.control.pause()
    playing = asyncio.create_task(calls.play())
    await until_paused(calls.control)
    calls.control.step(3)
    await calls.until(3)
    timeline.advance(100.0)
    calls.control.resume()
    await timeline.until_asleep(1.0)
    assert calls.seen == seqs(1, 2, 3)
    calls.control.stop()
    await within(playing)


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_steps_are_counted_from_one(tens: Path, count: Any) -> None:
    with pytest.raises(ValueError, match="count must be a whole number from 1 on"):
        Calls_control(tens).step(count)


def Calls_control(path: Path) -> Any:  # noqa: N802 - reads as the thing it makes
    from agentexchange import AgentExchangeWS

    return AgentExchangeWS(base_url=f"file://{path}").replay(progress_bar=False)


def test_a_wrong_moment_or_speed_is_refused_at_once(tens: Path) -> None:
    control = Calls_control(tens)
    with pytest.raises(ValueError, match="no moment"):
        control.seek("soon")
    with pytest.raises(ValueError, match="speed must be"):
        control.speed = -1
    assert control.speed == 1


async def test_it_seeks_forth_and_back_while_a_handler_runs_which_returns_first(tens: Path) -> None:
    steps = Steps(tens)
    playing = asyncio.create_task(steps.calls.play())
    await steps.calls.until(1)
    steps.control.seek(f"{BTC}@8")
    await asyncio.sleep(0.01)
    assert steps.seen == seqs(1)
    await steps.let(1)
    steps.control.seek(at(2_000_000))
    await steps.let(1)
    assert steps.seen == seqs(1, 8, 3)
    for _ in range(20):
        steps.may_return.release()
    await within(playing)
    assert steps.seen == seqs(1, 8, *range(3, 11))


async def test_it_seeks_within_the_span_only_and_to_its_end_which_ends_it(tens: Path) -> None:
    steps = Steps(tens, query=f"speed=0&start={BTC}@3&end={BTC}@6")
    playing = asyncio.create_task(steps.calls.play())
    await steps.calls.until(1)
    steps.control.seek(at(0))
    await steps.let(1)
    assert steps.seen == seqs(3, 3)
    steps.control.seek(at(60_000_000))
    steps.may_return.release()
    await within(playing)
    assert steps.seen == seqs(3, 3)


async def test_a_seek_to_what_was_not_recorded_is_logged_and_changes_nothing(
    tens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(tens).on(BTC)
    calls.control.seek(f"{BTC}@99")
    assert len(await calls.play()) == 10
    assert "the replay goes on where it is: there is no event ticker:BTCUSDT@99" in caplog.text


async def test_a_seek_while_paused_stays_paused_also_behind_the_last_event(tens: Path) -> None:
    calls = Calls(tens).on(BTC)
    calls.control.pause()
    calls.control.step(10)
    playing = asyncio.create_task(calls.play())
    await calls.until(10)
    calls.control.seek(at(3_000_000))
    calls.control.step()
    await calls.until(11)
    assert calls.seen[-1] == (BTC, 4)
    assert calls.control.progress.is_paused
    calls.control.seek(at(9_000_000))
    calls.control.resume()
    await within(playing)
    assert calls.seen[11:] == seqs(10)


async def test_it_is_steered_from_any_thread_and_from_handlers(tens: Path) -> None:
    calls = Calls(tens)

    @calls.ws.on_ticker("BTCUSDT")
    def on_btc(data: Any, meta: Any) -> None:
        calls.put((BTC, meta.seq))
        if len(calls.seen) == 2:
            calls.control.seek(f"{BTC}@9")

    thread = threading.Thread(target=calls.control.pause)
    thread.start()
    thread.join()
    playing = asyncio.create_task(calls.play())
    await within(until_paused(calls.control))
    await asyncio.to_thread(calls.control.resume)
    await within(playing)
    assert calls.seen == seqs(1, 2, 9, 10)


# Handlers and subscriptions while it runs


async def test_handlers_that_are_added_get_what_follows(tmp_path: Path) -> None:
    calls = Calls(a_day(tmp_path / "day.axlog"))

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: Any, meta: Any) -> None:
        calls.put((BTC, meta.seq))
        if meta.seq == 3:
            calls.on(ETH)
            calls.on_sync("orders")
        if meta.seq == 5:
            calls.ws.unsubscribe(ETH)

    seen = await calls.play()
    assert seen == [
        *seqs(1, 2, 3), (ETH, 3), ("orders", 1), *seqs(4), (ETH, 4), *seqs(5, 6, 7, 8), ("orders", 2), *seqs(9, 10)
    ]  # fmt: skip


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_a_handler_changes_holds_from_the_next_event_on(tmp_path: Path, *, is_async: bool) -> None:
    for _ in range(5):
        calls = (
            Calls(a_day(tmp_path / "day.axlog"))
            if not (tmp_path / "day.axlog").exists()
            else Calls(tmp_path / "day.axlog")
        )

        def change(data: Any, meta: Any, calls: Calls = calls) -> None:
            calls.put((BTC, meta.seq))
            if meta.seq == 2:
                calls.on_sync(ETH)
            if meta.seq == 4:
                calls.ws.unsubscribe(BTC)

        async def change_async(data: Any, meta: Any, change: Callable[..., None] = change) -> None:
            change(data, meta)

        calls.ws.subscribe(BTC, change_async if is_async else change)
        assert await calls.play() == [
            *seqs(1, 2),
            (ETH, 2),
            *seqs(3),
            (ETH, 3),
            *seqs(4),
            *((ETH, n) for n in range(4, 11)),
        ]


async def test_what_is_wanted_at_the_last_event_is_read_to_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, [tick(0), eth(1), eth(2)])])
    calls = Calls(path)

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: Any) -> None:
        calls.on(ETH)

    assert await calls.play() == [(ETH, 2), (ETH, 3)]


async def test_of_events_of_the_same_time_none_is_doubled_or_lost_when_more_is_wanted(tmp_path: Path) -> None:
    same = [order(number, START_US + 1000) for number in range(1, 4)]
    calls = Calls(write(tmp_path / "t.axlog", [(MARKET, ticks(3)), (ACCOUNT, same)]))

    @calls.ws.on_order_update()
    async def on_order(data: Any, meta: Any) -> None:
        calls.put(("orders", meta.seq))
        if meta.seq == 1:
            calls.on(BTC)

    assert await calls.play() == [("orders", 1), ("orders", 2), ("orders", 3), (BTC, 3)]


async def test_a_status_handler_that_is_added_gets_the_present_state_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.axlog", [(MARKET, [notice(1, START_US - 1), *ticks(3), notice(2, START_US + 9000, "live")])]
    )
    calls = Calls(path)

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: Any, meta: Any) -> None:
        calls.put(meta.seq)
        if meta.seq == 2:
            calls.on_status()

    seen = await calls.play()
    assert [one.state.value if isinstance(one, FeedStatus) else one for one in seen] == [1, 2, "blind", 3, "live"]


async def test_replays_of_topics_without_a_handler_do_nothing(tens: Path) -> None:
    calls = Calls(tens)
    calls.ws.subscribe(BTC)
    assert await calls.play() == []
    assert calls.control.progress.events == 0


# Ends


async def test_stopped_in_a_handler_no_other_event_follows(tens: Path) -> None:
    for is_async in (True, False):
        calls = Calls(tens)

        def stop(data: Any, meta: Any, calls: Calls = calls) -> None:
            calls.put((BTC, meta.seq))
            if meta.seq == 3:
                calls.ws.stop()

        async def stop_async(data: Any, meta: Any, stop: Callable[..., None] = stop) -> None:
            stop(data, meta)

        calls.ws.subscribe(BTC, stop_async if is_async else stop)
        assert await calls.play() == seqs(1, 2, 3)
        assert calls.control.progress.share < 1


async def test_disconnect_in_a_handler_returns_at_once(tens: Path) -> None:
    calls = Calls(tens)

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: Any, meta: Any) -> None:
        await calls.ws.disconnect()
        calls.put((BTC, meta.seq))

    assert await calls.play() == seqs(1)


@pytest.mark.parametrize("options", [{}, {"drain": True}])
async def test_disconnect_lets_the_handlers_of_the_event_in_hand_return(tens: Path, options: dict[str, Any]) -> None:
    calls, may_return = Calls(tens), asyncio.Event()

    @calls.ws.on_ticker("BTCUSDT")
    async def slow(data: Any) -> None:
        calls.put("slow begins")
        await may_return.wait()
        calls.put("slow ends")

    @calls.ws.on_ticker("BTCUSDT")
    def other(data: Any) -> None:
        calls.put("other")

    playing = asyncio.create_task(calls.play())
    await calls.until(1)
    ending = asyncio.create_task(calls.ws.disconnect(**options))
    await asyncio.sleep(0)  # it is under way
    may_return.set()
    await within(ending)
    assert calls.seen == ["slow begins", "slow ends", "other"]
    await within(playing)


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_handler_that_does_not_return_is_left_after_a_second(tens: Path, *, is_async: bool) -> None:
    calls, let = Calls(tens), threading.Event()

    def stuck(data: Any) -> None:
        calls.put("stuck")
        let.wait(60)

    async def stuck_async(data: Any) -> None:
        calls.put("stuck")
        await asyncio.sleep(60)

    calls.ws.subscribe(BTC, stuck_async if is_async else stuck)
    playing = asyncio.create_task(calls.play())
    await calls.until(1)
    before = time.monotonic()
    await within(calls.ws.disconnect())
    assert time.monotonic() - before > 0.5, "it is given a moment"
    await within(playing)
    let.set()
    await until_no_thread()
    assert calls.seen == ["stuck"]
    assert calls.ws.clock.replayed_us is None


async def test_stop_while_paused_or_waiting_ends_it_at_once(tens: Path) -> None:
    for query in ("speed=0", "speed=0.0001"):
        calls = Calls(tens, query=query).on(BTC)
        if query == "speed=0":
            calls.control.pause()
        playing = asyncio.create_task(calls.play())
        await (until_paused(calls.control) if query == "speed=0" else calls.until(1))
        calls.ws.stop()
        await within(playing)  # the next event would come in a day


async def test_stopped_before_it_begins_it_ends_as_it_begins_and_the_next_one_plays(tens: Path) -> None:
    calls = Calls(tens).on(BTC)
    calls.control.stop()
    await within(calls.control.finished())
    assert await calls.play() == []
    assert len(await calls.play()) == 10


async def test_cancelled_while_a_handler_runs_it_cancels_the_handler(tens: Path) -> None:
    calls = Calls(tens)

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: Any) -> None:
        calls.put("begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            calls.put("cancelled")
            raise

    playing = asyncio.create_task(calls.ws.connect())
    await calls.until(1)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(playing)
    assert calls.seen == ["begun", "cancelled"]
    await within(calls.control.finished())


async def test_cancelled_at_any_moment_it_ends_and_can_play_again(tmp_path: Path) -> None:
    path = a_day(tmp_path / "day.axlog")
    for turns in range(0, 60, 3):
        calls = Calls(path).on(BTC, "orders").on_sync(ETH).on_status()
        playing = asyncio.create_task(calls.ws.connect())
        for _ in range(turns):
            await asyncio.sleep(0)
        playing.cancel()
        await within(asyncio.gather(playing, return_exceptions=True))
        assert calls.ws.clock.replayed_us is None
        calls.seen.clear()
        assert len(await calls.play()) == 25
    await within(until_no_thread())


async def test_cancelled_twice_it_leaves_nothing_behind(tens: Path) -> None:
    """As at the end of `asyncio.run`, which cancels every task, and each of them those that it owns."""
    for turns in range(12):
        calls = Calls(tens).on_sync(BTC)
        playing = asyncio.create_task(calls.ws.connect())
        await calls.until(1)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await within(asyncio.gather(playing, return_exceptions=True))
        assert calls.ws.clock.replayed_us is None
    await within(until_no_thread())


@pytest.mark.parametrize("is_async", [True, False])
def test_a_system_exit_ends_the_program(tens: Path, *, is_async: bool) -> None:
    async def main() -> None:
        calls = Calls(tens)

        def leave(data: Any) -> None:
            raise SystemExit(3)

        async def leave_async(data: Any) -> None:
            raise SystemExit(3)

        calls.ws.subscribe(BTC, leave_async if is_async else leave)
        await calls.ws.connect()

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 3


def test_run_forever_returns_at_the_end(tens: Path) -> None:
    from agentexchange import AgentExchangeWS

    ws, seen = AgentExchangeWS(base_url=f"file://{tens}?speed=0"), []
    ws.subscribe(BTC, lambda data: seen.append(data["price"]))
    ws.run_forever()
    assert len(seen) == 10


async def test_a_block_waits_for_the_end_with_finished(tens: Path) -> None:
    calls = Calls(tens).on(BTC)
    async with calls.ws:
        await within(calls.control.finished())
    assert len(calls.seen) == 10
    await within(calls.control.finished())


async def test_a_handler_cannot_wait_for_its_own_end(tens: Path) -> None:
    calls = Calls(tens)

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: Any) -> None:
        with pytest.raises(UsageError, match="await finished\\(\\) elsewhere"):
            await calls.control.finished()
        calls.put("refused")

    assert (await calls.play())[0] == "refused"


async def test_a_second_connect_while_it_runs_is_refused(tens: Path) -> None:
    calls = Calls(tens).on(BTC)
    calls.control.pause()
    playing = asyncio.create_task(calls.play())
    await until_paused(calls.control)
    with pytest.raises(UsageError, match="connected already"):
        await calls.ws.connect()
    calls.ws.stop()
    await within(playing)


async def test_slow_sync_handlers_do_not_hold_the_loop(tens: Path) -> None:
    calls, is_under_way, has_beaten = Calls(tens), threading.Event(), threading.Event()

    @calls.ws.on_ticker("BTCUSDT")
    def slow(data: Any) -> None:
        is_under_way.set()
        calls.put(has_beaten.wait(PATIENCE_S))

    async def beat() -> None:
        while not is_under_way.is_set():  # noqa: ASYNC110 - a thread's event
            await asyncio.sleep(0)
        has_beaten.set()

    beating = asyncio.create_task(beat())
    assert await calls.play() == [True] * 10
    await beating


async def test_fast_handlers_leave_the_loop_to_others(tmp_path: Path) -> None:
    calls, beats = Calls(write(tmp_path / "t.axlog", [(MARKET, ticks(20_000))])), []

    @calls.ws.on_ticker("BTCUSDT")
    async def fast(data: Any) -> None: ...

    async def beat() -> None:
        while True:
            beats.append(1)
            await asyncio.sleep(0)

    beating = asyncio.create_task(beat())
    await calls.play()
    beating.cancel()
    assert len(beats) > 5


# Faults


async def test_of_a_damaged_file_everything_good_is_delivered_then_it_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(300)[start : start + 100]) for start in (0, 100, 200)])
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"BLCK") + 40] ^= 1
    path.write_bytes(raw)
    calls = Calls(path).on(BTC)
    with pytest.raises(RecordingError, match=str(path)):
        await calls.play()
    assert calls.seen == seqs(*range(1, 201))
    await within(calls.control.finished())


async def test_a_cut_file_is_played_as_far_as_it_is_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10)), (MARKET, ticks(20)[10:])], close=False)
    path.write_bytes(path.read_bytes()[:-3])
    assert await Calls(path).on(BTC).play() == seqs(*range(1, 11))
    assert "bytes at its end are missing" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no recording", b"\x89AXLOG\r\n\x09\x00\x00\x00\x00\x00abcd"])
async def test_a_foreign_file_and_one_of_a_later_version(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.axlog").write_bytes(content)
    with pytest.raises(RecordingError):
        await Calls(tmp_path / "t.axlog").on(BTC).play()


async def test_a_missing_file_is_one_clear_error_and_the_client_lives(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "none.axlog").on(BTC)
    with pytest.raises(FileNotFoundError, match=r"none\.axlog"):
        await calls.play()
    with pytest.raises(FileNotFoundError, match="no file matches"):
        await Calls(f"{tmp_path}/*.axlog").play()
    write(tmp_path / "none.axlog", [(MARKET, ticks(3))])
    assert len(await calls.play()) == 3


# Progress


async def test_progress_is_told_at_the_end_at_least(tens: Path) -> None:
    calls, told = Calls(tens).on(BTC), []
    control = calls.ws.replay(on_progress=told.append, progress_bar=False)
    assert control.progress == ReplayProgress()
    await calls.play()
    assert told[-1] == control.progress
    assert (told[-1].share, told[-1].events, told[-1].time, told[-1].is_paused) == (1.0, 10, at(9_000_000), False)
    assert repr(control) == "<ReplayControl speed=0 100%>"


async def test_one_who_watches_badly_ends_no_replay(tens: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(tens).on(BTC)
    calls.ws.replay(on_progress=lambda _: 1 / 0, progress_bar=False)
    assert len(await calls.play()) == 10
    assert "on_progress failed" in caplog.text


async def test_the_share_is_that_of_the_time(tens: Path) -> None:
    calls = Calls(tens).on(BTC)
    shares = []

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: Any) -> None:
        shares.append(calls.control.progress.share)

    await calls.play()
    assert shares == pytest.approx([number / 9 for number in range(10)], abs=0.001)


async def test_while_another_thread_changes_handlers_no_event_is_lost_or_doubled(tmp_path: Path) -> None:
    calls = Calls(write(tmp_path / "t.axlog", [(MARKET, ticks(3000))])).on_sync(ETH, BTC)
    done = threading.Event()

    def change() -> None:
        """So often that most come meanwhile, and not for ever: each of them costs the replay a look at its lanes."""
        for _ in range(500):
            if done.is_set():
                break
            calls.ws.subscribe(ETH)
            calls.ws.unsubscribe(ETH)
            time.sleep(0.0005)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        seen = await calls.play()
    finally:
        done.set()
        thread.join()
    assert seen == seqs(*range(1, 3001))
