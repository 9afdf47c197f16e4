from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange.recording import moment_us
from agentexchange_schemas.envelope import log_id

NOW_US = 1_795_341_318_743_226
NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US)


@pytest.mark.parametrize(
    ("text", "before_us"),
    [("now", 0), ("10m ago", 600_000_000), ("10m", 600_000_000), ("1.5 h ago", 5_400_000_000), ("250ms ago", 250_000),
     ("2d", 172_800_000_000), (" 30 s ago ", 30_000_000)],
)  # fmt: skip
def test_relative_moments(text: str, before_us: int) -> None:
    assert moment_us(text, now_us=NOW_US) == NOW_US - before_us


@pytest.mark.parametrize("text", ["2026-11-22T14:03:00Z", "2026-11-22 14:03", "2026-11-22T16:03:00+02:00"])
def test_times_with_a_zone_and_without_which_is_utc(text: str) -> None:
    assert moment_us(text, now_us=NOW_US) == int(datetime(2026, 11, 22, 14, 3, tzinfo=UTC).timestamp()) * 1_000_000


@given(received_us=st.integers(0, 2**53))
def test_log_ids(received_us: int) -> None:
    assert moment_us(log_id(received_us), now_us=NOW_US) == received_us


def test_datetimes_to_the_microsecond() -> None:
    assert moment_us(NOW, now_us=0) == NOW_US
    assert moment_us(NOW.astimezone(timezone(timedelta(hours=5))), now_us=0) == NOW_US
    assert moment_us(NOW.replace(tzinfo=None), now_us=0) == NOW_US


@given(st.text(max_size=80))
def test_anything_else_names_the_forms(text: str) -> None:
    try:
        assert moment_us(text, now_us=NOW_US) >= 0
    except ValueError as exc:
        assert "write a time such as" in str(exc)
