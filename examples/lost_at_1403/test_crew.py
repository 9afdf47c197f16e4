"""The crew lives 14:03 again: run with pytest beside moment.axlog."""

import os
from pathlib import Path

from crew import DipBuyer

from agentexchange import AgentExchangeWS

MOMENT = Path(os.environ.get("MOMENT", "moment.axlog")).resolve()


def lived_again(**options):
    ws = AgentExchangeWS(base_url=f"file://{MOMENT}?speed=0")
    crew = DipBuyer(ws, **options)
    ws.run_forever()
    return crew


def test_the_crew_of_that_day_buys_into_the_fall():
    (bought,) = lived_again(forgets_when_blind=False).bought
    at, price, mean = bought
    assert f"{at:%H:%M}" == "14:03"
    assert float(price) < 0.99 * mean


def test_the_crew_of_today_waits_until_it_has_seen_a_minute():
    assert lived_again().bought == []
