from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import agentexchange
import agentexchange.replay


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    ).stdout.strip()


def test_every_public_name_is_there_and_every_name_there_is_public() -> None:
    for name in agentexchange.__all__:
        assert getattr(agentexchange, name)
    there = {
        name
        for name, value in vars(agentexchange).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert there - {"annotations", "TYPE_CHECKING", "Any", "has_redis", "redis_backed"} == set(agentexchange.__all__)


@pytest.mark.parametrize("module", [agentexchange, agentexchange.replay])
def test_an_unknown_name_is_an_attribute_error(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = module.NoSuchName


def test_every_name_of_a_replay_is_there() -> None:
    for name in agentexchange.replay.__all__:
        assert getattr(agentexchange.replay, name)


def test_importing_it_brings_neither_redis_nor_the_sandbox() -> None:
    assert (
        run("import sys, agentexchange; print({'redis', 'hiredis', 'agentexchange.testing'} & {*sys.modules})")
        == "set()"
    )


def test_a_plain_install_has_no_redis() -> None:
    """Without redis everything straight works, and what is shared says what to install."""
    program = """
import sys
sys.modules["redis"] = sys.modules["hiredis"] = None
from agentexchange import *
AgentExchangeWS("k", "ws://localhost:1")
AgentExchangeWS(base_url="file:///day.axlog")
package = sys.modules["agentexchange"]
for ask in (
    lambda: AgentExchangeWS("k", "redis://localhost"),
    lambda: package.LatestReader,
    lambda: package.replay.RedisSource,
):
    try:
        ask()
    except MissingExtraError as exc:
        print(isinstance(exc, ImportError), exc)
"""
    assert run(program).splitlines() == ['True a shared feed needs redis: pip install "agentexchange[redis]"'] * 3
