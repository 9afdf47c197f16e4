"""Retry or final: the whole table."""

from __future__ import annotations

import pytest

from agentexchange.errors import AgentExchangeError
from agentexchange.redis import LinkClosedError, NotRedisError, ReplyError, Verdict, final_error, judge

RETRIED = [
    LinkClosedError("cannot connect: refused"),
    LinkClosedError("did not answer within 5 s"),
    ReplyError("LOADING Redis is loading the dataset in memory"),
    ReplyError("READONLY You can't write against a read only replica."),
    ReplyError("MASTERDOWN Link with MASTER is down"),
    ReplyError("CLUSTERDOWN The cluster is down"),
    ReplyError("BUSY Redis is busy running a script"),
    ReplyError("OOM command not allowed when used memory > 'maxmemory'"),
    ReplyError("MISCONF Errors writing to the AOF file"),
    ReplyError("ERR max number of clients reached"),
    ReplyError("TRYAGAIN"),
    ReplyError(""),
    OSError("no route"),
    TimeoutError(),
]
FINAL = [
    NotRedisError("certificate"),
    ReplyError("WRONGPASS invalid username-password pair or user is disabled."),
    ReplyError("NOAUTH Authentication required."),
    ReplyError("NOPERM User crew has no permissions to access the 'x' channel"),
    ReplyError("DENIED Redis is running in protected mode"),
    ReplyError("ERR invalid password"),
    ReplyError("ERR AUTH <password> called without any password configured for the default user."),
    ReplyError("ERR DB index is out of range"),
    ReplyError("ERR unknown command 'XREAD'"),
]


@pytest.mark.parametrize("fault", RETRIED, ids=str)
def test_what_mends_by_itself_is_retried(fault: Exception) -> None:
    assert judge(fault) is Verdict.RETRY


@pytest.mark.parametrize("fault", FINAL, ids=str)
def test_what_a_person_must_mend_is_final(fault: Exception) -> None:
    assert judge(fault) is Verdict.FINAL


@pytest.mark.parametrize("fault", FINAL, ids=str)
def test_what_has_worked_before_is_retried(fault: Exception) -> None:
    assert judge(fault, has_worked=True) is Verdict.RETRY


@pytest.mark.parametrize("fault", FINAL, ids=str)
def test_the_public_error_names_fault_and_server(fault: Exception) -> None:
    error = final_error(fault, "redis://h:1/0")
    assert isinstance(error, ConnectionError)
    assert isinstance(error, AgentExchangeError)
    assert str(fault) in str(error)
    assert "redis://h:1/0" in str(error)
    assert error.__cause__ is fault


def test_a_reply_error_keeps_a_bounded_message() -> None:
    fault = ReplyError("ERR " + "x" * 10_000)
    assert fault.code == "ERR"
    assert len(str(fault)) == 512
