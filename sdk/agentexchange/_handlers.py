"""Handlers: how a user's function is to be called, read once from its signature."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from agentexchange_schemas import EVENT_MODELS, Event, FeedStatus, Topic

from ._meta import EventMeta
from ._policy import HandlerOptions

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Handler"]

_CLASSES: Final[tuple[type, ...]] = (*EVENT_MODELS.values(), Event, FeedStatus, EventMeta)
_NAMES: Final[dict[str, Any]] = {named.__name__: named for named in _CLASSES}
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """One registered function. Two registrations of one function are two handlers.

    Attributes:
        function: what the user decorated.
        topic: what it is registered for; None for a status handler.
        name: for log lines.
        is_async: whether it runs on the event loop (else on its own thread).
        model: the class its parameter is annotated with, None for a plain dict.
        wants_meta: whether it takes an `EventMeta` as second argument.
        options: what its decorator was told.
    """

    function: Callable[..., Any]
    topic: Topic | None
    name: str
    is_async: bool
    model: type[BaseModel] | None
    wants_meta: bool
    options: HandlerOptions

    @classmethod
    def of(cls, function: Callable[..., Any], topic: Topic | None, options: HandlerOptions | None = None) -> Handler:
        """Read ``function``'s signature.

        Raises:
            TypeError: not callable, cannot be called with one positional argument (or data and meta), or annotated
                with the model of another kind of event.
        """
        if not callable(function):
            raise TypeError(f"a handler must be a function, not {type(function).__name__}: write @ws.on_...() above it")
        name = _name(function)
        parameters = _positional(function, name, most=1 if topic is None else 2)
        return cls(
            function=function,
            topic=topic,
            name=name,
            is_async=_is_async(function),
            model=_model(function, parameters[0], topic, name) if parameters else None,
            wants_meta=topic is not None and len(parameters) > 1 and _asks_for_meta(function, parameters[1]),
            options=options or HandlerOptions(),
        )


def _name(function: Callable[..., Any]) -> str:
    inner = _unwrapped(function)
    return getattr(inner, "__qualname__", type(inner).__qualname__)


def _unwrapped(function: Callable[..., Any]) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_async(function: Callable[..., Any]) -> bool:
    inner = _unwrapped(function)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def _positional(function: Callable[..., Any], name: str, *, most: int) -> list[inspect.Parameter]:
    """Its positional parameters; empty where it takes ``*args`` only, or is a builtin that does not tell."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return []
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    required = [parameter for parameter in positional if parameter.default is parameter.empty]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if keywords or len(required) > most or not (positional or takes_any):
        raise TypeError(
            f"handler {name} must take the event as its one positional argument, or the event and its metadata: "
            f"def {name.rpartition('.')[2]}(data) or (data, meta)"
        )
    return positional


def _asks_for_meta(function: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    """Whether a second parameter is for the metadata, and not an option of someone's own with a default."""
    return (
        parameter.default is parameter.empty
        or parameter.name == "meta"
        or EventMeta in _alternatives(_annotation(function, parameter))
    )


def _model(
    function: Callable[..., Any], parameter: inspect.Parameter, topic: Topic | None, name: str
) -> type[BaseModel] | None:
    expected = FeedStatus if topic is None else EVENT_MODELS[topic.kind]
    for wanted in _alternatives(_annotation(function, parameter)):
        if not (isinstance(wanted, type) and issubclass(wanted, BaseModel)):
            continue
        if wanted is Event and topic is not None:
            return expected
        if issubclass(wanted, (Event, FeedStatus)) and not issubclass(wanted, expected):
            raise TypeError(
                f"handler {name} is annotated with {wanted.__name__}, but {topic or 'status'} gives {expected.__name__}"
            )
        return wanted
    return None


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The parameter's annotation as an object; None where it cannot be told."""
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        return annotation
    inner = _unwrapped(function)
    target = inner if hasattr(inner, "__globals__") or inspect.ismethod(inner) else type(inner).__call__
    names = _NAMES | getattr(inspect.unwrap(target), "__globals__", {})
    try:
        return eval(annotation, names)  # noqa: S307 - the program's own annotation, as typing.get_type_hints does
    except Exception:  # noqa: BLE001 - an annotation may hold anything; only a readable one changes the call
        return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The classes in ``Ticker``, ``Ticker | None``, ``Optional[Ticker]``, ``Annotated[Ticker, ...]``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(item for part in typing.get_args(annotation) for item in _alternatives(part))
    return (annotation,)
