"""One connected session of a shared client: from the first socket to the first fault.

One connection for commands, one for pub/sub, and one that reads logs where the wildcard is wanted. Topics are joined
without a hole: subscribe, read the latest value (or the place where "now" is), wait until everything published before
has arrived, merge by seq. Topics that had begun before go on from the log.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agentexchange.errors import AuthenticationError
from agentexchange.redis import LinkClosedError, RespStream
from agentexchange_schemas import FeedState
from agentexchange_schemas.envelope import STATUS_TOPIC
from agentexchange_schemas.topics import Kind, is_event_topic

from .check import SilenceCheck
from .commands import START, Commands, place_of
from .ending import decisive, until_closed
from .log import LogReader
from .plan import LATEST_FIRST, Plan
from .pubsub import PubSub
from .recovery import Recovery
from .scan import LogName, Tools, log_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from agentexchange._urls import RedisUrl
    from agentexchange_schemas import FeedStatus, Layout, Topic

    from .clock import ClockCheck
    from .flow import Flow
    from .inbox import Inbox
    from .interest import InterestKeeper
    from .options import SharedOptions

__all__ = ["SharedSession"]

_NAME = "agentexchange-sdk"


class SharedSession:
    """Built for each connection; the inbox, the wanted topics and the cursors are the transport's and outlive it."""

    def __init__(
        self,
        url: RedisUrl,
        account: str,
        *,
        layout: Layout,
        wanted: AbstractSet[Topic],
        inbox: Inbox,
        interest: InterestKeeper,
        cursors: dict[str, bytes],
        clock: ClockCheck,
        options: SharedOptions,
    ) -> None:
        self._url = url
        self._account = account
        self._wanted = wanted
        self._inbox = inbox
        self._interest = interest
        self._cursors = cursors
        self._clock = clock
        self._options = options
        self.layout = layout
        self._is_layout_known = False
        self._plan = Plan(layout)
        self._pubsub = PubSub(options)
        self._wake = asyncio.Event()
        self._streams: list[RespStream] = []
        # Always the third and last stream: its guard, and what reads it.
        self._reader: tuple[asyncio.Task[None], ...] | None = None
        self._due: set[Flow] = set()
        self._due_scopes: set[str] = set()
        self._missed: dict[str, int] = {}
        self._ready_at: float | None = None
        self._signs_before = inbox.signs

    def wake(self) -> None:
        """The wanted topics, or a scope's state, have changed."""
        self._wake.set()

    @property
    def is_ready(self) -> bool:
        """Whether everything was subscribed."""
        return self._ready_at is not None

    @property
    def is_healthy(self) -> bool:
        """Whether it proved so: subscribed, and a message came or enough time passed."""
        if self._ready_at is None:
            return False
        lasted = self._options.clock() - self._ready_at >= self._options.healthy_after_s
        return lasted or self._inbox.signs > self._signs_before

    async def run(self) -> None:
        """Serve until a fault.

        Raises:
            RedisLinkError: Redis is away, or refuses.
            AuthenticationError: upstream refuses the account's key.
            ConnectionError: Redis holds a layout that this client does not read.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._serve())
        except asyncio.CancelledError:
            await self._interest.leave()
            raise
        except BaseExceptionGroup as group:
            raise decisive(group) from None
        finally:
            for stream in self._streams:
                stream.close("the session is over")

    async def _serve(self) -> None:
        stream = await RespStream.connect(self._url, name=_NAME, options=self._options.stream)
        self._own(stream)
        self._commands = Commands(stream, self._url.prefix)
        await self._learn_layout()
        self._tasks.create_task(self._interest.keep(stream))
        self._tools = Tools(
            self._commands, self.layout, self._inbox, self._options, learn=self._learn_log, settle=self._settle
        )
        self._recovery = Recovery(self._tools, self._tasks)
        self._inbox.on_behind = self._recovery.add
        self._inbox.on_control, self._inbox.teller.on_change = self._pubsub.on_control, self.wake
        self._own(await self._pubsub.connect(self._url, _NAME, self._options, self._inbox.on_messages))
        await self._follow()

    def _own(self, stream: RespStream) -> asyncio.Task[None]:
        """Close it with the session, and end the session with it."""
        self._streams.append(stream)
        return self._tasks.create_task(until_closed(stream))

    async def _learn_layout(self) -> None:
        """Without one no bridge has ever been here: its defaults are assumed, and it is looked for again."""
        layout = await self._commands.layout()
        self._is_layout_known = layout is not None
        if layout is not None and layout != self.layout:
            if self._plan.scopes:
                raise LinkClosedError("the bridge has set another partition count")
            self.layout = layout

    async def _follow(self) -> None:
        """Bring what is read in line with what is wanted, now and after each change."""
        while True:
            self._wake.clear()
            keep_logs = self._reader is not None
            many = self._options.many_tickers
            plan = Plan.of(self.layout, self._wanted, account=self._account, keep_logs=keep_logs, many=many)
            await self._apply(plan)
            self._check_key()
            await self._settle()
            for scope in sorted(self._plan.scopes):
                await self._join(scope)
            await self._run_reader()
            if self._ready_at is None:
                self._ready_at = self._options.clock()
                self._tasks.create_task(self._watch())
            await self._wake.wait()

    async def _apply(self, plan: Plan) -> None:
        old, self._plan = self._plan, plan
        opened, closed = plan.channels - old.channels, old.channels - plan.channels
        scopes = plan.scopes - old.scopes
        if self._reader is None:
            for scope in self._cursors.keys() - plan.logs:
                del self._cursors[scope]
        flows = [self._open(scope, STATUS_TOPIC) for scope in scopes]
        flows += [self._open_topic(scope, topic) for scope, topic in opened]
        await self._pubsub.subscribe(self.layout.channel(flow.scope, flow.topic) for flow in flows)
        statuses = await self._look(scopes)
        await self._begin(flow for flow in flows if flow not in self._due)
        await self._find_log_ends(plan.logs - old.logs)
        await self._close(closed, old.scopes - plan.scopes)
        self._feed_from_logs(old)
        for flow in self._inbox.flows():
            if flow.is_behind:
                self._recovery.add(flow)
        self._tell(statuses)  # last: what happens after it was told is handed out
        self._tell_topics()

    # Opening and closing

    def _open(self, scope: str, topic: str) -> Flow:
        flow = self._inbox.flow(scope, topic)
        self._inbox.open_channel(self.layout.channel(scope, topic), flow)
        if not flow.has_begun:
            flow.hold()
        elif flow.is_event or scope not in self._cursors:  # else its notices come with the log that is read on
            flow.fall_behind()
        return flow

    def _open_topic(self, scope: str, topic: Topic) -> Flow:
        flow = self._open(scope, str(topic))
        if topic.kind in LATEST_FIRST and not flow.has_begun:
            self._due.add(flow)
        return flow

    async def _begin(self, flows: Iterable[Flow]) -> None:
        """What has no latest value to begin with begins now: behind the last event that the server knows."""
        by_log: dict[LogName, list[Flow]] = {}
        for flow in flows:
            if not flow.has_begun:
                by_log.setdefault(log_of(flow), []).append(flow)
        for name, fresh in by_log.items():
            marks = await self._tools.marks(name, fresh)
            await self._pubsub.barrier()
            await self._settle()
            for flow in fresh:
                if not flow.has_begun:
                    self._inbox.vet(flow, marks)
                    if not flow.held:
                        flow.begin(marks.seqs[flow.topic], marks.epoch, marks.end_us)
                self._inbox.release(flow)

    def _feed_from_logs(self, old: Plan) -> None:
        """What comes out of the logs from here on."""
        plan = self._plan
        for scope, topic in (old.picked or frozenset()) - (plan.picked or frozenset()):
            if plan.picked is not None and (scope, topic) not in plan.channels:
                self._inbox.forget(self._inbox.flow(scope, str(topic)))
        for scope in plan.logs:
            self._inbox.feed_from_log(scope, plan.picked_of(scope))
        if plan.logs and plan.picked != old.picked:
            self._due_scopes.update(plan.logs)

    async def _close(self, channels: Iterable[tuple[str, Topic]], scopes: Iterable[str]) -> None:
        named = [(self.layout.channel(scope, str(topic)), scope, topic) for scope, topic in channels]
        named_scopes = [(self.layout.status(scope), scope) for scope in scopes]
        await self._pubsub.unsubscribe([name for name, *_ in named] + [name for name, _ in named_scopes])
        for name, scope, topic in named:
            self._inbox.close_channel(name)
            if not self._is_in_log(scope, topic):  # else it rides on the log from now on
                flow = self._inbox.flow(scope, str(topic))
                self._due.discard(flow)
                self._inbox.forget(flow)
        for name, scope in named_scopes:
            self._inbox.close_channel(name)
            self._inbox.forget_scope(scope)

    def _is_in_log(self, scope: str, topic: Topic) -> bool:
        picked = self._plan.picked
        return topic.kind is Kind.TICKER and scope in self._plan.logs and (picked is None or (scope, topic) in picked)

    # Latest first

    async def _join(self, scope: str) -> None:
        """Hand out the latest values that are due, if the scope is live; else let events pass until it is."""
        flows = [flow for flow in self._due if flow.scope == scope]
        if not self._inbox.teller.watch(scope).is_live:
            await self._begin(flow for flow in flows if flow.held)
            return
        for flow in flows:
            flow.hold()
        flows += await self._every_ticker(scope)
        if not flows:
            return
        latest = await self._commands.latest(self.layout, flows)
        marks = await self._tools.marks(LogName(scope, is_candles=False), flows)
        # What was published before the latest value was read may still be on its way on the other connection.
        await self._pubsub.barrier()
        if any(self._inbox.is_new_epoch(scope, value.epoch) for value in latest if value is not None):
            await self._settle()
        self._due.difference_update(flows)
        without: list[Flow] = []
        for flow, found in zip(flows, latest, strict=True):
            envelope = found if flow.has_begun else self._inbox.vetted(flow, found, marks)
            if envelope is None and not self._inbox.is_log_fed(flow):
                without.append(flow)
            else:
                self._inbox.release(flow, envelope)
        await self._begin(without)

    async def _every_ticker(self, scope: str) -> list[Flow]:
        """Of tickers out of the log: those of the scope that have not begun."""
        if scope not in self._due_scopes:
            return []
        self._due_scopes.discard(scope)
        topics = self._plan.picked_of(scope)
        if topics is None:
            topics = await self._commands.tickers(self.layout, scope)
        flows = [self._inbox.flow(scope, topic) for topic in topics if is_event_topic(topic)]
        return [flow for flow in flows if not flow.has_begun and flow.held is None]

    # The log

    async def _find_log_ends(self, scopes: Iterable[str]) -> None:
        """Where reading begins: after a lost connection at the last entry seen, else at the log's end."""
        ends = await self._commands.log_ends(self.layout, scopes)
        goes_on = {scope for scope in ends if scope in self._cursors and self._is_log_wanted(scope)}
        self._missed = {scope: place_of(ends[scope]) for scope in goes_on}
        new = {scope: end for scope, end in ends.items() if scope not in goes_on}
        if not new:
            return
        self._cursors |= new
        for flow in (flow for scope in new for flow in self._inbox.flows(scope)):
            if flow.is_cut and not log_of(flow).is_candles:
                flow.fall_behind()  # what lies between its last event and the log's end is not read with the log
        # Tickers that change from channel to log: what was published before the ends were read comes first.
        await self._pubsub.barrier()

    def _is_log_wanted(self, scope: str) -> bool:
        """Whether any ticker of it wants what was missed while the connection was away."""
        flows = [flow for flow in self._inbox.flows(scope) if flow.is_event and not log_of(flow).is_candles]
        return not flows or any(self._inbox.recovers(flow) for flow in flows)

    async def _run_reader(self) -> None:
        """Start or stop reading the logs."""
        if self._plan.logs and self._reader is None:
            stream = await RespStream.connect(self._url, name=_NAME, options=self._options.stream)
            reader = LogReader(
                stream, self.layout, self._cursors, missed=self._missed, inbox=self._inbox, options=self._options
            )
            self._reader = (self._own(stream), self._tasks.create_task(reader.run()))
        elif self._reader is not None and not self._plan.logs:
            for task in self._reader:
                task.cancel()
            self._streams.pop().close("no log is read any more")
            self._reader = None
            self._cursors.clear()
            self._inbox.log_fed.clear()

    # Liveness

    async def _watch(self) -> None:
        """Look at scopes whose heartbeat has stopped, and for a layout that was not there."""
        options, watch_of = self._options, self._inbox.teller.watch
        check = SilenceCheck(self._tools, self._pubsub)
        while True:
            await options.sleep(options.watch_every_s)
            clock = options.clock()
            silent = [s for s in self._plan.scopes if watch_of(s).silence(clock) > options.silent_after_s]
            self._tell(await self._look(silent))
            self._tell_topics()
            for scope in silent:
                watch = watch_of(scope)
                if watch.is_leased and watch.silence(clock) > options.replace_after_s:
                    raise LinkClosedError(f"no heartbeat of {scope} arrives though its lease is held")
            await check.run(self._plan.scopes, clock)
            await self._clock.run(self._commands, clock)
            if not self._is_layout_known:
                await self._learn_layout()

    async def _settle(self) -> None:
        """Look at the logs of scopes that came under a new writer, before any of its seqs is trusted."""
        for scope in sorted(self._inbox.unsettled):
            suspects = self._inbox.suspects(scope)
            self._tell(await self._look([scope]))
            self._tell_topics()
            self._inbox.settle(scope, suspects, keep=self._due)

    async def _look(self, scopes: Iterable[str]) -> list[FeedStatus | None]:
        """What is to be told of them."""
        names = sorted(scopes)
        looks = await self._commands.look(self.layout, names)
        now, clock, watch = self._options.now(), self._options.clock(), self._inbox.teller.watch
        for scope, look in zip(names, looks, strict=True):
            self._inbox.learn_epoch(scope, look.epoch)
            if look.log_id is not None:
                self._learn_log(scope, look.log_id)
            watch(scope).took(look)
        looked = zip(names, looks, strict=True)
        return [watch(scope).looked_at(look.report, now=now, clock=clock) for scope, look in looked]

    def _tell(self, statuses: Iterable[FeedStatus | None]) -> None:
        for status in statuses:
            self._inbox.teller.tell(status)

    def _tell_topics(self) -> None:
        """States of topics that were found by a look, or whose topic is wanted since."""
        now = self._options.now()
        for scope in sorted(self._plan.scopes):
            self._tell(self._inbox.teller.watch(scope).untold(self._inbox.is_concerned, now=now))

    def _learn_log(self, scope: str, log_id: bytes) -> None:
        if self._inbox.learn_log(scope, log_id) and scope in self._cursors:
            self._cursors[scope] = START  # every entry of a new log is new

    def _check_key(self) -> None:
        """Market trouble is told by status; a key of one's own that upstream refuses is the program's to mend."""
        if self._account not in self._plan.scopes:
            return
        watch = self._inbox.teller.watch(self._account)
        if watch.is_leased and watch.state is FeedState.AUTH_FAILED:
            raise AuthenticationError("the platform refuses this API key (the bridge reports it)", code="AUTH_FAILED")
