from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentexchange.testing import DEMO_KEY
from agentexchange_bridge.cli import main
from agentexchange_bridge.cli._commands import COMMANDS

if TYPE_CHECKING:
    from agentexchange.testing import SandboxThread

ROOT = Path(__file__).parents[3]
PLAIN = ("websockets", "pydantic", "pydantic_core", "msgpack", "typing_extensions.py", "annotated_types",
         "typing_inspection")  # fmt: skip


@pytest.fixture(scope="module")
def plain_install(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an interpreter that has our packages and their three dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("plain")
    site = Path(sysconfig.get_path("purelib"))
    for source in [*(site / name for name in PLAIN), *site.glob("agentexchange-*.dist-info")]:
        (folder / source.name).symlink_to(source)
    paths = [folder, *(ROOT / name for name in ("schemas", "sdk", "bridge"))]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}


def run_plain(environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from agentexchange_bridge.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-S", "-c", code, *argv],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {command.name} " in text for command in COMMANDS)
    assert "example:" in text


def test_version_of_the_command_and_of_each_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--version"], ["-V"], *([command.name, "--version"] for command in COMMANDS)):
        assert main(argv) == 0
        assert capsys.readouterr().out.startswith("agentexchange 0.")


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: agentexchange {name}")
    assert f"\n  agentexchange {name}" in text.partition("example")[2]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name a command: demo, bridge, "),
        (["brigde"], "there is no command 'brigde': did you mean 'bridge'?"),
        (["xyz"], "use one of demo, "),
        (["sandbox", "--no-such-flag"], "sandbox: unrecognized arguments: --no-such-flag (see agentexchange sandbox"),
        (["sandbox", "--port", "x"], "sandbox: argument --port: invalid int value: 'x'"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_flags_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sandbox", "--ra", "5"]) == 2
    assert "--ra" in capsys.readouterr().err


def test_a_plain_install_has_help_a_sandbox_and_served_recordings(plain_install: dict[str, str]) -> None:
    overview = run_plain(plain_install, "--help")
    assert (overview.returncode, overview.stderr) == (0, "")
    sandbox = run_plain(plain_install, "sandbox", "--help")
    assert (sandbox.returncode, sandbox.stderr) == (0, "")
    replay = run_plain(plain_install, "replay", "none.axlog", "--serve", "0")
    assert replay.stderr == "agentexchange: replay: none.axlog: No such file or directory\n"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.needs], ids=lambda c: c.name)
def test_a_plain_install_is_told_which_extra_a_command_needs(plain_install: dict[str, str], command: object) -> None:
    name, extra = command.name, command.extra  # type: ignore[attr-defined]
    result = run_plain(plain_install, name, "--help")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert f'pip install "agentexchange[{extra}]"' in result.stderr


@pytest.mark.sandbox_exchange(rate=200, pairs=5)
def test_a_plain_install_can_tail_the_platform_and_is_told_what_redis_needs(
    plain_install: dict[str, str], sandbox_thread: SandboxThread
) -> None:
    environment = plain_install | {"AGENTEXCHANGE_API_KEY": DEMO_KEY}
    straight = run_plain(environment, "tail", "--url", sandbox_thread.url, "--count", "3", "ticker:all")
    assert (straight.returncode, straight.stdout.count("\n")) == (0, 3), straight.stderr
    shared = run_plain(environment, "tail", "--url", "redis://127.0.0.1:1", "ticker:all")
    assert shared.returncode == 1
    assert shared.stderr.count("\n") == 1
    assert 'pip install "agentexchange[redis]"' in shared.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    code = "import sys; from agentexchange_bridge.cli import main; sys.exit(main(['--help']))"
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        result = subprocess.run(
            [sys.executable, "-c", code], stdout=write_end, stderr=subprocess.PIPE, timeout=30, check=False
        )
    finally:
        os.close(write_end)
    assert (result.returncode, result.stderr) == (0, b"")
