"""What verdicts in a folder are based on: `judged-by.jsonl`, where each `Basis` is listed once."""

from __future__ import annotations

import json
from pathlib import Path

from ulsad.line.verdict import Basis
from ulsad.photos.files import rest_of_line

BASES = "judged-by.jsonl"


def note_basis(folder: Path, basis: Basis) -> None:
    """List a basis, unless it is listed. Raises `OSError`."""
    if basis.id in bases(folder):
        return
    with open(folder / BASES, "a+b") as file:
        file.write(f"{rest_of_line(file)}{json.dumps(basis.to_dict())}\n".encode())


def bases(folder: Path) -> dict[str, Basis]:
    """All that are listed, by their ids. Lines that were cut short by a kill or a full disk are left out."""
    try:
        lines = (folder / BASES).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        try:
            basis = Basis.from_dict(json.loads(line))
        except (ValueError, TypeError, AttributeError):
            continue
        found[basis.id] = basis
    return found
