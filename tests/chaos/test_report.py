from __future__ import annotations

import json

from tests.chaos._stories import TICK, Story
from tests.chaos.checker import check
from tests.chaos.processes import Memory
from tests.chaos.report import as_json, as_text
from tests.chaos.runner import Result


def spoilt() -> Result:
    story = Story()
    story.flow(TICK)
    story.blind(2, 3)
    story.drop_call(TICK, 5)
    story.killed_redis(1, 2)
    memory = Memory()
    memory.sample(40.0)
    return Result(story.history(), {"one#1": memory}, ["w1#1 ended by itself"])


def test_for_people() -> None:
    result = spoilt()
    text = as_text(check(result.history), result)
    assert "one#1" in text
    assert "VIOLATION lost: consumer one#1" in text
    assert "trouble: w1#1 ended by itself" in text
    assert "upstream_lost" in text
    assert text.endswith("violations, events by kind: {'lost': 1}")


def test_many_topics_are_summed() -> None:
    story = Story()
    story.consumer.topics = {"ticker:all": ("ticker:all",)}
    for index in range(5):
        story.flow(f"ticker:S{index}", start=index * 0.001)
        story.drop_call(f"ticker:S{index}", 4)
    story.consumer.calls = [call._replace(handler="ticker:all") for call in story.consumer.calls]
    story.drop_call("ticker:S3", 5)
    result = Result(story.history(), {}, [])
    text = as_text(check(result.history), result)
    assert text.count("VIOLATION") == 1
    assert "5 topics: 6, such as ticker:S3: seq 4..5" in text


def test_for_programs() -> None:
    result = spoilt()
    report = json.loads(json.dumps(as_json(check(result.history), result, seed=4)))
    assert report["seed"] == 4
    assert report["totals"] == {"lost": 1}
    assert report["faults"][0]["target"] == "redis"
    assert report["memory_mb"] == {"one#1": {"first": 40.0, "peak": 40.0, "last": 40.0}}
    assert not report["clean"]
