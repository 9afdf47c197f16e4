"""What the latest readers ask Redis, and how they read the answers: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from agentexchange_schemas import (
    Candle,
    Event,
    FeedState,
    Layout,
    OrderUpdate,
    Portfolio,
    ScopeStates,
    Ticker,
    Topic,
    TopicState,
    account_scope,
)

from ._shared.read import envelope_of, layout_of, offset_of, pairs, report_of, states_of, utc_of
from ._urls import api_key_secret, redis_url
from .errors import StaleValueError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from pydantic import SecretStr

    from agentexchange_schemas import Envelope

__all__ = ["Answers", "Command", "Latest", "Question", "Questions"]

M = TypeVar("M", bound=Event)
Command = tuple[Any, ...]
Answers = dict[str, "Latest[M] | None"]

MAX_AT_ONCE: Final = 5_000
"""Values of one question."""


@dataclass(frozen=True, slots=True)
class Latest(Generic[M]):
    """The newest value of a topic, as the bridge wrote it.

    Attributes:
        topic: such as ``ticker:BTCUSDT``.
        data: the fields, exactly as a handler gets them.
        age: seconds since the bridge received it, by the Redis server's clock and by what the bridge says of its own:
            this machine's plays no part.
        state: of the topic, now: its own where it has one, such as ``stale`` where its ticks stay away though others
            come, else that of its kind, else that of the feed; ``no_bridge`` when nobody serves it.
        since: since when that is so (UTC); None where that is not known.
        received_at: when the bridge received it (UTC).
        written_at: when the bridge wrote it (UTC); None where that is not known.
        model_type: the class of `model`.
    """

    topic: str
    data: dict[str, Any]
    age: float
    state: FeedState
    since: datetime | None
    received_at: datetime
    written_at: datetime | None
    model_type: type[M]

    @property
    def model(self) -> M:
        """The fields as a frozen model, with exact decimals and times."""
        return self.model_type.model_validate(self.data)


@dataclass(frozen=True, slots=True)
class Question(Generic[M]):
    """What is wanted: per name that the caller uses, a topic, and for an order its id."""

    model: type[M]
    wanted: Mapping[str, tuple[Topic, str | None]]
    max_age: float | None


class Questions:
    """Makes commands of questions and answers of replies, for one URL and one account.

    Raises:
        ValueError: the URL is no Redis URL, or the key or prefix is not valid.
    """

    def __init__(self, url: str, api_key: str | SecretStr | None, prefix: str | None) -> None:
        self.url = redis_url(url)
        self._account = None if api_key is None else account_scope(api_key_secret(api_key).get_secret_value())
        self._layout = Layout(prefix or self.url.prefix)
        self.knows_layout = False

    # The installation's layout

    @property
    def layout_command(self) -> Command:
        """Asks for it."""
        return ("HGETALL", self._layout.meta)

    def learn_layout(self, reply: Any) -> None:
        """Take it; where there is none yet the defaults hold, and it is asked again next time.

        Raises:
            ConnectionError: a layout that this release does not read.
        """
        layout = layout_of(pairs(reply), self._layout.prefix)
        if layout is not None:
            self._layout, self.knows_layout = layout, True

    # Questions: each raises ValueError for a name that is none, UsageError for a private one without an api_key

    def tickers(self, symbols: Iterable[str], max_age: float | None) -> Question[Ticker]:
        """Prices of several pairs."""
        if isinstance(symbols, str):  # each of its letters would be taken for a pair
            raise ValueError(f"symbols must be a list, such as [{symbols[:40]!r}]")  # noqa: TRY004 - as for other names
        wanted = {symbol: (_one_pair(Topic.ticker(symbol)), None) for symbol in symbols}
        if len(wanted) > MAX_AT_ONCE:
            raise ValueError(f"{len(wanted)} symbols are more than {MAX_AT_ONCE} at once")
        return Question(Ticker, wanted, _checked(max_age))

    def candle(self, symbol: str, interval: str, max_age: float | None) -> Question[Candle]:
        """The last closed candle."""
        return Question(Candle, {symbol: (Topic.candles(symbol, interval), None)}, _checked(max_age))

    def portfolio(self, max_age: float | None) -> Question[Portfolio]:
        """The newest snapshot."""
        self._need_account()
        return Question(Portfolio, {"portfolio": (Topic.portfolio(), None)}, _checked(max_age))

    def orders(self, order_ids: Iterable[str], max_age: float | None) -> Question[OrderUpdate]:
        """The newest update of each order."""
        self._need_account()
        return Question(OrderUpdate, {name: (Topic.orders(), name) for name in order_ids}, _checked(max_age))

    def open_orders_command(self) -> Command:
        """Asks for the ids of open orders."""
        return ("SMEMBERS", self._layout.latest(self._need_account(), str(Topic.orders())))

    # Commands and replies

    def commands(self, question: Question[Any]) -> list[Command]:
        """One round trip: the server's time, and of each scope its lease, its status and the values."""
        commands: list[Command] = [("TIME",)]
        for scope, names in self._by_scope(question):
            commands.append(("EXISTS", self._layout.lease(scope)))
            commands.append(("HGETALL", self._layout.status(scope)))
            commands.append(("MGET", *(self._key(scope, *question.wanted[name]) for name in names)))
        return commands

    def answers(self, question: Question[M], replies: list[Any]) -> Answers[M]:
        """The replies to `commands` as values, in the order of the question; None where there is none.

        Raises:
            StaleValueError: with ``max_age``, a value that is older or missing.
        """
        now_us = int(replies[0][0]) * 1_000_000 + int(replies[0][1])
        found: Answers[M] = {}
        parts = zip(self._by_scope(question), replies[1::3], replies[2::3], replies[3::3], strict=True)
        for (scope, names), leased, status, values in parts:
            fields = pairs(status)
            states = _states(scope, leased, fields)
            bridge_us = now_us - (offset_of(fields.get("clock_offset_us")) or 0)
            for name, raw in zip(names, values, strict=True):
                topic = question.wanted[name][0]
                state = states.of(topic)
                envelope = envelope_of(raw, str(topic))
                found[name] = envelope and _latest(envelope, bridge_us, state, question.model)
                _check_age(name, found[name], state.state, question.max_age)
        return {name: found[name] for name in question.wanted}

    def _by_scope(self, question: Question[Any]) -> Iterator[tuple[str, list[str]]]:
        scopes: dict[str, list[str]] = {}
        for name, (topic, _) in question.wanted.items():
            scopes.setdefault(self._layout.scopes_of(topic, self._account)[0], []).append(name)
        yield from scopes.items()

    def _key(self, scope: str, topic: Topic, order_id: str | None) -> str:
        return self._layout.latest(scope, str(topic), order_id)

    def _need_account(self) -> str:
        if self._account is None:
            raise UsageError("orders and portfolio belong to an account: construct the reader with api_key=")
        return self._account


def _one_pair(topic: Topic) -> Topic:
    if topic.is_wildcard:
        raise ValueError("'all' has no latest value: name the pairs, such as tickers(['BTCUSDT', 'ETHUSDT'])")
    return topic


def _checked(max_age: float | None) -> float | None:
    if max_age is not None and not max_age > 0:
        raise ValueError(f"max_age {max_age!r} is not valid: use seconds above 0, or None for any age")
    return max_age


def _states(scope: str, leased: Any, fields: Mapping[str, str]) -> ScopeStates:
    """How the scope and its topics are; without a lease nobody serves them, whatever the fields say."""
    report = report_of(scope, leased, fields)
    if report is None:
        return ScopeStates(TopicState(FeedState.NO_BRIDGE))
    return states_of(report, fields)


def _latest(envelope: Envelope, now_us: int, state: TopicState, model: type[M]) -> Latest[M]:
    # The bridge's clock may be a little ahead, too little to be known: no value is younger than new.
    age = max(0, now_us - envelope.received_us) / 1e6
    written_us = envelope.written_us
    return Latest(
        topic=envelope.topic,
        data=envelope.data,
        age=age,
        state=state.state,
        since=state.since,
        received_at=utc_of(envelope.received_us),
        written_at=None if written_us is None else utc_of(written_us),
        model_type=model,
    )


def _check_age(name: str, value: Latest[Any] | None, state: FeedState, max_age: float | None) -> None:
    if max_age is None:
        return
    if value is None:
        raise StaleValueError(f"{name}: no value, where one of at most {max_age:g} s is wanted; the feed is {state}")
    if value.age > max_age:
        raise StaleValueError(
            f"{name}: the latest value is {value.age:.1f} s old, more than {max_age:g} s; the feed is {state}",
            age_s=value.age,
        )
