from __future__ import annotations

from agentexchange.recording import Hole
from agentexchange_bridge.recorder._tell import notice_of
from agentexchange_schemas import Cause, FeedStatus
from agentexchange_schemas.envelope import decode

AT_US = 1_795_341_318_000_000


def test_a_hole_is_a_notice_just_before_the_event_behind_it() -> None:
    hole = Hole("ticker:A", Cause.TRIMMED, AT_US, AT_US + 700, 6, 8)
    envelope = decode(notice_of("m0", hole, after_us=0))
    status = FeedStatus.from_fields(envelope.data)
    assert (envelope.topic, envelope.seq, envelope.received_us) == ("status", None, AT_US + 699)
    assert (status.scope, status.topic, status.cause) == ("m0", "ticker:A", "trimmed")
    assert (status.first_missing, status.last_missing, status.count) == (6, 8, 3)
    assert decode(notice_of("m0", hole, after_us=AT_US + 800)).received_us == AT_US + 800
