"""The image's build step without a container engine: what the Dockerfile copies is enough to build and run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def copied_into_the_build() -> list[str]:
    build = (ROOT / "Dockerfile").read_text().split("FROM ")[1]
    return [source for line in build.splitlines() if line.startswith("COPY") for source in line.split()[1:-1]]


def test_the_wheel_builds_from_what_the_dockerfile_copies_and_holds_everything(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name in copied_into_the_build():
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run(command, cwd=source, check=True, timeout=50)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("agentexchange_schemas", "agentexchange", "agentexchange_bridge"):
        assert f"{package}/py.typed" in names
    scripts = {path.name for path in (ROOT / "bridge/agentexchange_bridge/scripts").glob("*.lua")}
    assert {f"agentexchange_bridge/scripts/{name}" for name in scripts} <= names
    assert any(name.endswith("entry_points.txt") for name in names)
