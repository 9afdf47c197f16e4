"""The distribution: what the wheel holds, what a plain install brings, and which names are public."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.integration._pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = ("agentexchange_schemas", "agentexchange", "agentexchange_bridge")


@pytest.mark.timeout(120)
def test_the_wheel_holds_all_three_packages_with_types_and_scripts(tmp_path: Path) -> None:
    build = [sys.executable, "-c", f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"]
    name = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1]
    with zipfile.ZipFile(tmp_path / name) as wheel:
        names = set(wheel.namelist())
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    scripts = {path.name for path in (ROOT / "bridge").rglob("*.lua")}
    assert scripts
    assert {path.rpartition("/")[2] for path in names if path.endswith(".lua")} >= scripts
    assert not [path for path in names if path.startswith(("tests", "bench"))]


def test_a_plain_install_brings_three_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert names == {"websockets", "pydantic", "msgpack"}


@pytest.mark.parametrize(
    "package", ["agentexchange_schemas", "agentexchange", "agentexchange.testing", "agentexchange.serving"]
)
def test_public_names_exist_and_nothing_else_is_public(package: str) -> None:
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    ours = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and str(getattr(value, "__module__", "")).startswith("agentexchange")
    }
    assert ours <= set(module.__all__)
