"""Every tick once, whatever is subscribed and left while ticks flow: against a model of the platform."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.upstream._subscriptions import Request, Subscriptions
from agentexchange.upstream._twins import Twins
from agentexchange_schemas import Topic
from agentexchange_schemas.upstream import Ack

ALL = "ticker:all"
TOPICS = ("ticker:BTCUSDT", "ticker:ETHUSDT", ALL)
Frame = Ack | tuple[str, dict[str, Any]]


class Platform:
    """Answers requests in order; sends each tick once for each way in which it is subscribed."""

    def __init__(self) -> None:
        self.asked: deque[Request] = deque()
        self.sent: deque[Frame] = deque()
        self.ticks: list[tuple[str, str]] = []
        self._held: set[str] = set()

    def answer(self) -> None:
        if self.asked:
            request = self.asked.popleft()
            (self._held.add if request.subscribe else self._held.discard)(str(request.topic))
            self.sent.append(Ack(request.subscribe, str(request.topic)))

    def tick(self, topic: str, price: str) -> None:
        ways = len({topic, ALL} & self._held)
        self.sent.extend((topic, {"price": price}) for _ in range(ways))
        self.ticks.extend([(topic, price)] * bool(ways))


class Client:
    """Reads the stream as a session does."""

    def __init__(self, platform: Platform) -> None:
        self.ticks: list[tuple[str, str]] = []
        self._platform = platform
        self._twins = Twins()
        self._state = Subscriptions(())

    def change(self, topic: str, *, wanted: bool) -> None:
        (self._state.want if wanted else self._state.unwant)(Topic.parse(topic))
        self._platform.asked.extend(self._state.requests())

    def read(self) -> None:
        if not self._platform.sent:
            return
        frame = self._platform.sent.popleft()
        if isinstance(frame, Ack):
            self._state.acknowledged(frame)
            self._twins.keep(self._state.doubled)
            self._platform.asked.extend(self._state.requests())
            return
        topic, fields = frame
        if not (topic in self._state.doubled and self._twins.is_second(topic, fields)):
            self.ticks.append((topic, fields["price"]))


steps = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(TOPICS), st.booleans()),
    st.tuples(st.just("tick"), st.sampled_from(TOPICS[:2]), st.sampled_from("12")),
    st.tuples(st.just("answer")),
    st.tuples(st.just("read")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=120))
def test_each_tick_that_upstream_sends_is_delivered_once(script: list[tuple[Any, ...]]) -> None:
    platform = Platform()
    client = Client(platform)
    for step in script:
        match step:
            case ("change", topic, wanted):
                client.change(topic, wanted=wanted)
            case ("tick", topic, price):
                platform.tick(topic, price)
            case ("answer",):
                platform.answer()
            case _:
                client.read()
    while platform.asked or platform.sent:
        platform.answer()
        client.read()
    assert client.ticks == platform.ticks
