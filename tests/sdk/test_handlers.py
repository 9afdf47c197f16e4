from __future__ import annotations

import functools
import queue
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest

import agentexchange as ax
from agentexchange import Candle, Event, EventMeta, FeedStatus, Ticker, Topic
from agentexchange._handlers import Handler

if TYPE_CHECKING:
    from agentexchange import OrderUpdate as Hidden

TICKER = Topic.ticker("BTCUSDT")


class MyTicker(Ticker):
    pass


async def plain(data): ...  # noqa: ANN001, ANN201 - as in the documentation
async def typed(data: dict[str, Any]) -> None: ...
async def model(tick: Ticker) -> None: ...
async def qualified(tick: ax.Ticker) -> None: ...
async def optional(tick: Optional[Ticker]) -> None: ...  # noqa: UP045 - the old spelling too
async def union(tick: Ticker | None) -> None: ...
async def annotated(tick: Annotated[Ticker, "fresh"]) -> None: ...
async def subclass(tick: MyTicker) -> None: ...
async def base(tick: Event) -> None: ...
async def unreadable(tick: NoSuchName) -> None: ...  # noqa: F821 - the point


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (plain, None),
        (typed, None),
        (model, Ticker),
        (qualified, Ticker),
        (optional, Ticker),
        (union, Ticker),
        (annotated, Ticker),
        (subclass, MyTicker),
        (base, Ticker),
        (unreadable, None),
        (functools.partial(model), Ticker),
    ],
)
def test_the_annotation_tells_dict_or_model(function: Any, expected: type | None) -> None:
    handler = Handler.of(function, TICKER)
    assert handler.model is expected
    assert handler.is_async
    assert not handler.wants_meta


def test_a_name_imported_for_type_checkers_only() -> None:
    def on_order(order: Hidden) -> None: ...
    def on_candle(candle: Candle) -> None: ...

    assert Handler.of(on_candle, Topic.candles("BTCUSDT", "1m")).model is Candle
    assert Handler.of(on_order, Topic.orders()).model is None


class Crew:
    async def on_tick(self, tick: Ticker, meta: EventMeta) -> None: ...

    def on_data(self, data: dict[str, str]) -> None: ...

    async def __call__(self, tick: Ticker) -> None: ...


def test_methods_and_callable_objects() -> None:
    method = Handler.of(Crew().on_tick, TICKER)
    assert (method.model, method.wants_meta, method.is_async, method.name) == (Ticker, True, True, "Crew.on_tick")
    instance = Handler.of(Crew(), TICKER)
    assert (instance.model, instance.wants_meta, instance.is_async, instance.name) == (Ticker, False, True, "Crew")
    assert not Handler.of(Crew().on_data, TICKER).is_async


def test_builtins_can_be_handlers() -> None:
    for function in (print, [].append, queue.Queue[Any]().put):
        handler = Handler.of(function, TICKER)
        assert (handler.is_async, handler.wants_meta, handler.model) == (False, False, None)


@pytest.mark.parametrize(
    ("function", "wants_meta"),
    [
        (lambda _data: None, False),
        (lambda _data, _anything: None, True),
        (lambda _data, meta=None: meta, True),
        (lambda _data, option=5: option, False),
        (lambda *data: data, False),
        (lambda data, *, option=5: (data, option), False),
        (functools.partial(lambda _option, _data: None, 1), False),
    ],
)
def test_a_second_parameter_is_the_metadata(function: Any, *, wants_meta: bool) -> None:
    assert Handler.of(function, TICKER).wants_meta is wants_meta


def test_status_handlers_take_a_status_and_no_metadata() -> None:
    def on_status(status: FeedStatus) -> None: ...

    assert Handler.of(on_status, None).model is FeedStatus


@pytest.mark.parametrize(
    ("function", "topic"),
    [
        (lambda: None, TICKER),
        (lambda a, b, c: (a, b, c), TICKER),
        (lambda data, *, needed: (data, needed), TICKER),
        (lambda data, meta: (data, meta), None),
        ("BTCUSDT", TICKER),
        (model, Topic.orders()),
        (model, None),
    ],
)
def test_a_wrong_signature_is_a_type_error_at_decoration(function: Any, topic: Topic | None) -> None:
    with pytest.raises(TypeError, match="handler"):
        Handler.of(function, topic)
