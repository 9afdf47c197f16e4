from __future__ import annotations

import builtins
import pickle

import pytest

from agentexchange import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_carries_its_data(name: str) -> None:
    kind = getattr(errors, name)
    error = kind("words", code="CODE", status_code=403)
    assert isinstance(error, errors.AgentExchangeError)
    assert (str(error), error.message, error.code, error.status_code) == ("words", "words", "CODE", 403)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_can_be_pickled(name: str) -> None:
    error = pickle.loads(pickle.dumps(getattr(errors, name)("words", code=1)))  # noqa: S301 - our own bytes
    assert (error.message, error.code, error.status_code) == ("words", 1, None)


def test_builtin_relatives() -> None:
    assert issubclass(errors.ConnectionError, builtins.ConnectionError)
    assert issubclass(errors.MissingExtraError, ImportError)
    assert errors.StaleValueError("old", age_s=3.5).age_s == 3.5
