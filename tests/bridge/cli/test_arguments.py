from __future__ import annotations

import argparse

import pytest

from agentexchange_bridge.cli._arguments import count, seconds_up_to


def test_a_count() -> None:
    assert (count("1"), count("10")) == (1, 10)


@pytest.mark.parametrize("text", ["0", "-1", "", "x", "1.5", "²", "٣", "9" * 19])
def test_no_count(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number from 1 on"):
        count(text)


def test_seconds() -> None:
    assert (seconds_up_to(5)("0"), seconds_up_to(5)("4.5"), seconds_up_to(5)("5")) == (0, 4.5, 5)


@pytest.mark.parametrize("text", ["-1", "5.1", "nan", "inf", "", "x"])
def test_no_seconds(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number from 0 to 5"):
        seconds_up_to(5)(text)
