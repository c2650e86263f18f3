"""The READMEs name what is there."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from ulsad import PRESETS, Config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OF_PACKAGE = (ROOT / "ulsad/README.md").read_text(encoding="utf-8")


def test_list_of_modules_is_complete_and_true():
    listed = re.findall(r"^(\S+\.(?:py|css|js)) +\S", OF_PACKAGE, re.MULTILINE)
    present = {path.relative_to(ROOT / "ulsad").as_posix() for path in (ROOT / "ulsad").rglob("*")
               if path.suffix in (".py", ".css", ".js") and path.read_text(encoding="utf-8").count("\n") > 1}
    assert len(listed) == len(set(listed))
    assert set(listed) == present


def test_presets_are_as_the_table_says():
    table = {name: cells.split(" | ") for name, cells in
             re.findall(r"^\| `(\w+)` \| ((?:[^|]+ \| ){3})", OF_PACKAGE, re.MULTILINE)}
    assert list(table) == [field.name for field in fields(Config)]
    for name, cells in table.items():
        assert cells[:3] == [_written(getattr(preset, name)) for preset in PRESETS.values()], name


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\((?!https:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def _written(value: object) -> str:
    """As the command line takes it."""
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)
