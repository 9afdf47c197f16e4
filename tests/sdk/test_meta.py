from __future__ import annotations

from typing import Any

import pytest

from agentexchange._meta import Origin, event_meta


@pytest.mark.parametrize(
    ("fields", "expected"), [({}, False), ({"reconciled": True}, True), ({"reconciled": 1}, False)]
)
def test_the_metadata_say_whether_an_event_tells_of_a_blind_span(fields: dict[str, Any], expected: Any) -> None:
    assert event_meta("orders", fields, Origin(None, "live", None, 0)).reconciled is expected
