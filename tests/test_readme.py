"""The README names what is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_file_tree_is_complete_and_true():
    listed = set(re.findall(r"^((?:ulsad/|app\.py)\S*) ", README, re.MULTILINE))
    present = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ulsad").rglob("*")
               if path.suffix in (".py", ".css", ".js") and path.read_text(encoding="utf-8").count("\n") > 1}
    assert listed == present | {"app.py"}


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\((?!https:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
