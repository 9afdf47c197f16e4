from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentexchange_bridge.acl import bridge_rule, crew_rule, operator_rule
from agentexchange_bridge.cli import main
from agentexchange_schemas import account_scope

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ak_live_acl_command"
ACCOUNT = account_scope(KEY)
OTHER = "a-" + "0" * 32


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--role", "bridge"], f"user bridge {bridge_rule('ax')}"),
        (["--role", "operator", "--user", "alice", "--prefix", "px"], f"user alice {operator_rule('px')}"),
        (["--role", "crew"], f"user crew {crew_rule('ax', [ACCOUNT])}"),
        (["--role", "crew", "--account", OTHER], f"user crew {crew_rule('ax', [OTHER])}"),
        (
            ["--role", "crew", "--account", OTHER, "--market-group", "g", "--market-position", "p"],
            f"user crew {crew_rule('ax', [OTHER], groups=['g'], positions=['p'])}",
        ),
    ],
)
def test_one_line_for_an_acl_file(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTEXCHANGE_API_KEY", KEY)
    assert main(["acl", *argv]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{line}\n"
    assert KEY not in captured.out


def test_accounts_go_by_their_names_in_the_bridges_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_text(KEY)
    config = tmp_path / "bridge.toml"
    config.write_text(f'[[account]]\nname = "alpha"\nkey_file = "{tmp_path}/key"\n')
    argv = ["acl", "--role", "crew", "--config", str(config), "--account"]
    assert main([*argv, "alpha"]) == 0
    assert capsys.readouterr().out == f"user crew {crew_rule('ax', [ACCOUNT])}\n"
    assert main([*argv, "beta"]) == 2
    assert "(alpha)" in capsys.readouterr().err


def test_a_key_file_names_an_account_beside_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    assert main(["acl", "--role", "crew", "--account", OTHER, "--api-key-file", str(file)]) == 0
    assert capsys.readouterr().out == f"user crew {crew_rule('ax', [OTHER, ACCOUNT])}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--role", "crew"], "give --account or --api-key-file, or set AGENTEXCHANGE_API_KEY"),
        (["--role", "crew", "--account", KEY], "--account is a- and 32 hex digits, or a configured account's name"),
        (["--role", "crew", "--account", f"{OTHER} ~*"], "--account is a- and 32 hex digits"),
        (["--role", "crew", "--account", OTHER, "--market-group", "*"], "group '*' is not valid"),
        (["--role", "crew", "--account", OTHER, "--market-position", "p ~*"], "resume 'p ~*' is not valid"),
        (["--role", "bridge", "--prefix", "*"], "prefix '*' is not valid"),
        (["--role", "bridge", "--user", "x on"], "user 'x on' is not valid"),
        (["--role", "bridge", "--account", OTHER], "are for --role crew, not bridge"),
        (["--role", "everything"], "invalid choice"),
        ([], "--role"),
    ],
)
def test_bad_input_is_exit_code_2_and_shows_no_key(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AGENTEXCHANGE_API_KEY", "AGENTEXCHANGE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert main(["acl", *argv]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert KEY not in captured.err
