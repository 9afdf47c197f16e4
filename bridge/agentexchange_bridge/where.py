"""Conditions on events, as people type them: ``price > 65000 and symbol = 'BTCUSDT'``. Pure; nothing is evaluated.

::

    condition  = both ("or" both)*
    both       = one ("and" one)*
    one        = "not" one | "(" condition ")" | name operator value
    operator   = "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~"
    value      = number | 'text' | "text" | true | false | null | name

A name is a field of the event, or ``topic``, ``kind``, ``seq`` of its metadata; ``about`` is what a notice is about,
since its ``topic`` is ``status``. A name on the right has to be a documented field: ``close > open``.
"""

from __future__ import annotations

import operator
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeAlias

from agentexchange_schemas import FeedStatus
from agentexchange_schemas.envelope import STATUS_TOPIC
from agentexchange_schemas.events import EVENT_MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MAX_CHARACTERS", "MAX_DEPTH", "Where", "WhereError"]

MAX_CHARACTERS: Final = 1000
MAX_DEPTH: Final = 20
"""Of parentheses and ``not`` within each other."""

_MAX_NUMBER: Final = 64  # characters of a field that are read as a number
_ABOUT: Final = "about"
_METADATA: Final = frozenset({"topic", "kind", "seq", _ABOUT})
_FIELDS: Final = _METADATA.union(FeedStatus.model_fields, *(model.model_fields for model in EVENT_MODELS.values()))
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_WORDS: Final = frozenset({"and", "or", "not", *_CONSTANTS})

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_EQUAL: Final = frozenset({"=", "=="})

_token = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,2})?(?![\w.]))"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")"
    r"|(?P<operator>==|!=|<=|>=|[=<>~])"
    r"|(?P<bracket>[()])"
    r"|(?P<end>\Z))",
    re.ASCII,
).match

_Test: TypeAlias = "Callable[[_Event], bool]"
_Value: TypeAlias = "Callable[[_Event], Any]"


class WhereError(ValueError):
    """A condition cannot be read.

    Attributes:
        position: of the fault, in characters from 1.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"at character {position}: {message}")
        self.position = position


class Where:
    """A condition that was read; `parse` makes it.

    A comparison with a field that is missing or null is false, but for ``= null``. A number is compared exactly with
    what a field says in digits, be it text or not; ``!=`` is true of whatever is there and differs. Text is compared
    letter by letter, by ``<`` and the like as numbers where both are; ``~`` is "contains", in any case.
    """

    __slots__ = ("_test", "text")

    def __init__(self, text: str, test: _Test) -> None:
        self.text = text
        self._test = test

    @classmethod
    def parse(cls, text: str) -> Where:
        """Read a condition.

        Raises:
            WhereError: a ValueError: not a condition, longer than `MAX_CHARACTERS` or deeper than `MAX_DEPTH`; says
                where and why.
        """
        if len(text) > MAX_CHARACTERS:
            raise WhereError(f"a condition has at most {MAX_CHARACTERS} characters", MAX_CHARACTERS + 1)
        return cls(text, _Parser(text).whole())

    def matches(self, topic: str, fields: Mapping[str, Any], *, seq: int | None = None) -> bool:
        """Whether an event fulfils it: its topic (``status`` for a notice), its fields and its number."""
        return self._test(_Event(topic, fields, seq))

    def __repr__(self) -> str:
        return f"Where({self.text!r})"


class _Event(NamedTuple):
    topic: str
    fields: Mapping[str, Any]
    seq: int | None


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0
        self._depth = 0
        self._next = self._read()

    def whole(self) -> _Test:
        test = self._any()
        if self._next.kind != "end":
            self._fail("'and', 'or' or the end")
        return test

    def _any(self) -> _Test:
        tests = [self._all()]
        while self._takes("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda event: any(test(event) for test in tests)

    def _all(self) -> _Test:
        tests = [self._one()]
        while self._takes("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda event: all(test(event) for test in tests)

    def _one(self) -> _Test:
        at = self._next.at
        is_not = self._takes("not")
        if not is_not and self._next.text != "(":
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise WhereError(f"more than {MAX_DEPTH} conditions lie within each other", at + 1)
        test = self._not() if is_not else self._group()
        self._depth -= 1
        return test

    def _not(self) -> _Test:
        test = self._one()
        return lambda event: not test(event)

    def _group(self) -> _Test:
        self._take()
        test = self._any()
        if self._next.text != ")":
            self._fail("')'")
        self._take()
        return test

    def _comparison(self) -> _Test:
        if self._next.kind != "name" or self._next.text.lower() in _WORDS:
            self._fail("a field, such as price")
        left = _field(self._take().text)
        if self._next.kind != "operator":
            self._fail("one of = != < <= > >= ~")
        sign = self._take()
        return self._right(left, sign)

    def _right(self, left: _Value, sign: _Token) -> _Test:
        token = self._next
        word = token.text.lower()
        if token.kind == "number":
            self._take()
            return _compare_number(left, sign.text, Decimal(token.text), token.text)
        if token.kind == "text":
            self._take()
            quote = token.text[0]
            return _compare_text(left, sign.text, token.text[1:-1].replace(quote * 2, quote))
        if token.kind != "name" or word in _WORDS.difference(_CONSTANTS):
            self._fail("a number, a text in quotes, true, false, null or a field")
        if word in _CONSTANTS and sign.text not in (*_EQUAL, "!="):
            raise WhereError(f"{word} can only be compared by = and !=", sign.at + 1)
        if word not in _CONSTANTS and token.text not in _FIELDS:
            raise WhereError(f"text belongs in quotes: '{token.text[:40]}'", token.at + 1)
        self._take()
        if word in _CONSTANTS:
            return _compare_constant(left, sign.text, _CONSTANTS[word])
        return _compare_fields(left, sign.text, _field(token.text))

    def _takes(self, word: str) -> bool:
        is_it = self._next.kind == "name" and self._next.text.lower() == word
        if is_it:
            self._take()
        return is_it

    def _take(self) -> _Token:
        token, self._next = self._next, self._read()
        return token

    def _read(self) -> _Token:
        found = _token(self._text, self._end)
        if found is None:
            at = self._end + len(self._text[self._end :]) - len(self._text[self._end :].lstrip())
            return _Token("", self._text[at:], at)  # whoever takes it as something will fail there
        kind = found.lastgroup or ""
        self._end = found.end()
        return _Token(kind, found[kind], found.start(kind))

    def _fail(self, wanted: str) -> NoReturn:
        token = self._next
        if token.text[:1] in ("'", '"') and not token.kind:
            raise WhereError("this quote is never closed", token.at + 1)
        found = "the end" if token.kind == "end" else repr(token.text[:20])
        raise WhereError(f"{wanted} is expected, not {found}", token.at + 1)


def _field(name: str) -> _Value:
    match name:
        case "topic":
            return lambda event: event.topic
        case "kind":
            return lambda event: event.topic.partition(":")[0]
        case "seq":
            return lambda event: event.seq
        case "about":
            return lambda event: event.fields.get("topic") if event.topic == STATUS_TOPIC else None
    return lambda event: event.fields.get(name)


def _compare_number(left: _Value, sign: str, number: Decimal, text: str) -> _Test:
    if sign == "~":
        return _compare_text(left, sign, text)

    def test(event: _Event) -> bool:
        value = left(event)
        found = _number(value)
        if found is None:
            return sign == "!=" and value is not None
        return _holds(found, sign, number)

    return test


def _compare_text(left: _Value, sign: str, text: str) -> _Test:
    number, folded = _number(text), text.casefold()

    def test(event: _Event) -> bool:
        value = _text(left(event))
        if value is None:
            return False
        if sign == "~":
            return folded in value.casefold()
        if sign in _ORDER and number is not None and (found := _number(value)) is not None:
            return _ORDER[sign](found, number)
        return _holds(value, sign, text)

    return test


def _compare_constant(left: _Value, sign: str, constant: bool | None) -> _Test:  # noqa: FBT001 - the value itself
    is_equal = sign in _EQUAL

    def test(event: _Event) -> bool:
        value = left(event)
        if value is None and constant is not None:
            return False
        return (value is constant) is is_equal

    return test


def _compare_fields(left: _Value, sign: str, right: _Value) -> _Test:
    def test(event: _Event) -> bool:
        value, other = _text(left(event)), _text(right(event))
        if value is None or other is None:
            return False
        if sign == "~":
            return other.casefold() in value.casefold()
        number, other_number = _number(value), _number(other)
        if number is not None and other_number is not None:
            return _holds(number, sign, other_number)
        return _holds(value, sign, other)

    return test


def _holds(value: Any, sign: str, other: Any) -> bool:
    if sign in _EQUAL:
        return bool(value == other)
    if sign == "!=":
        return bool(value != other)
    return _ORDER[sign](value, other)


def _number(value: Any) -> Decimal | None:
    """The exact number that a field says; None where it says none."""
    if type(value) is int or type(value) is float:
        value = str(value)
    if type(value) is not str or len(value) > _MAX_NUMBER:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _text(value: Any) -> str | None:
    """A field as text; None for null, lists and maps."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    return str(value) if type(value) in (int, float) else None
