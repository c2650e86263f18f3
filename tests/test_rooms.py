"""The package is a house: a room imports only from rooms below it, and only some know certain libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ulsad"
FLOORS = [{"errors"}, {"compute", "demo"}, {"method", "photos"}, {"detector"}, {"attention", "evaluation"},
          {"runs"}, {"line"}, {"ui"}, {"speed"}, {"commands"}, {"__main__"}]
FLOOR = {room: number for number, rooms in enumerate(FLOORS, start=1) for room in rooms}


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, as a dotted name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports from the root"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_floor():
    rooms = {path.stem for path in PACKAGE.iterdir()
             if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_from_below(file):
    here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports(file):
        if module.startswith("ulsad.") and module != "ulsad.lazy":
            there = room_of(module)
            assert there == here or FLOOR[there] < FLOOR[here], f"{here} imports {module}"
        if module.partition(".")[0] in ("gradio", "gradio_client"):
            assert here == "ui"


def test_the_package_loads_nothing_heavy():
    code = ("import sys, ulsad, ulsad.method, ulsad.photos, ulsad.detector, ulsad.runs, ulsad.ui;"
            "print(sorted({'torch', 'gradio', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout == "[]\n"


def test_every_room_shows_its_face():
    code = ("import importlib\nfor room in %r:\n    package = importlib.import_module('ulsad.' + room)\n"
            "    assert len(' '.join(package.__doc__.split()).split('. ')) >= 3, room\n"
            "    for name in getattr(package, '__all__', ()):\n        getattr(package, name)\n"
            "import ulsad\nfor name in ulsad.__all__:\n    getattr(ulsad, name)")
    rooms = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())
    done = subprocess.run([sys.executable, "-c", code % rooms], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
