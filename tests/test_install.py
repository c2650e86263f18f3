"""What `pip install .` brings: every file that a checkout has, and a command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, because setuptools leaves a folder beside the sources."""
    folder, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("copy")
    for name in ("ulsad", "assets"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                    "--wheel-dir", folder, copy], check=True)
    file, = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.mark.slow
def test_it_has_every_file_of_the_package_and_the_demo(installed):
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ulsad").rglob("*")
               if path.suffix in (".py", ".js", ".css", ".svg")}
    demo = {f"ulsad/assets/{path.relative_to(ROOT / 'assets').as_posix()}"
            for path in [ROOT / "assets/demo.safetensors", *(ROOT / "assets/demo").glob("*.jpg"),
                         *(ROOT / "assets/lesson").glob("*.safetensors")]}
    there = {path.relative_to(installed).as_posix() for path in (installed / "ulsad").rglob("*")
             if path.is_file()}
    assert there == package | demo


def test_it_names_the_command_and_the_requirements(installed):
    info, = installed.glob("*.dist-info")
    commands = ConfigParser()
    commands.read(info / "entry_points.txt")
    assert dict(commands["console_scripts"]) == {"ulsad": "ulsad.__main__:main"}
    metadata = (info / "METADATA").read_text(encoding="utf-8").splitlines()
    needed = {line.removeprefix("Requires-Dist: ") for line in metadata if line.startswith("Requires-Dist")}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line for line in lines if line[:1] not in ("", "#")}
    assert pinned == {line for line in needed if "extra" not in line}


@pytest.mark.slow
def test_it_finds_its_demo_from_anywhere(installed, tmp_path):
    code = ("from ulsad.ui import library; from ulsad import Ulsad; model = Ulsad.load(library.DEMO_MODEL);"
            "print(library.__file__, len(library.demo_photos()))")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True,
                          env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True)
    assert done.stdout.split() == [str(installed / "ulsad/ui/library.py"), "8"], done.stderr
