"""The page that explains exported files to those who build them into a program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any


def page(facts: dict[str, Any], exported: Sequence[tuple[str, dict[str, float]]], references: int) -> str:
    """Markdown. `facts` are those of `export.facts_of`; `exported` has each file's name with the largest
    difference of each output, measured on so many reference photos."""
    side, basis, maps = facts["side"], facts["basis"], [*facts["scores"][1:], "combined"]
    shown = ", ".join(f"`{name}`" for name in maps)
    return f"""# {exported[0][0]}

Exported from `{basis['model']}` with {_criterion(basis)}.

## Input

`squares`: uint8, n × {side} × {side} × 3. Photos in RGB, upright, each resized as a whole to this
size (bilinear, antialiased, as by Pillow's `Image.resize`). Values from 0 to 255: the model scales them.
{_depth(facts["white_level"])}
## Output

| name | type | what |
|---|---|---|
| {shown} | float32, n × {side} × {side} | normalised anomaly maps: 0.1 is high for a good part |
| `scores` | float32, n × {len(facts["scores"])} | {", ".join(facts["scores"])}: the map's highest value |
| `verdict` | int64, n | {", ".join(f"{i}: {name}" for i, name in enumerate(facts["verdicts"]))} |
| `strangeness` | float32, n | above 1, a photo is unlike all good ones, so its score means little |

## Thresholds

`verdict` follows from the combined score: a part passes up to {facts["review"]:.6g}, fails above
{facts["fail"]:.6g}, and needs a review in between. A branch has fired if its own score is above
{_branches(facts)}.

The file has all of this as JSON too, with what the verdicts are based on. ONNX: the metadata `ulsad`;
torch: the extra file `ulsad.json`.

## Run it

{_how_to_run([name for name, _ in exported])}

If the model was cross-fitted, its own training photos get lower scores here than in ULSAD Explorer, where
networks that do not know them judge them. For all other photos both agree.

## Checked

Largest differences from ULSAD Explorer's own maps, on the {references} good photos that are in the model:

{_table(exported)}

`check.npz` has some of these photos as squares with the right outputs, to check another program or processor:

```python
check = np.load("check.npz")
outputs = your_program(check["squares"])
print(abs(outputs["combined"] - check["combined"]).max())  # about 1e-5
```
"""


def _criterion(basis: dict[str, Any]) -> str:
    name, settings = basis["criterion"], basis["settings"]
    levels = f"α {settings['alpha']:g} and β {settings['beta']:g}"
    return f"the criterion '{name}' ({levels})" if name else f"its suggested criterion ({levels})"


def _depth(white_level: float | None) -> str:
    if white_level is None:
        return ""
    return (f"\nThe model was trained on photos with more than 8 bits. A value v of such a photo becomes "
            f"min(255, 255 v / {white_level:g}), rounded.\n")


def _branches(facts: dict[str, Any]) -> str:
    return " or ".join(f"{facts[name]:.6g} ({name})" for name in facts["scores"][1:])


def _how_to_run(files: Sequence[str]) -> str:
    ways = {".onnx": """```sh
python -m pip install onnxruntime numpy pillow
python run_exported.py {file} photo.jpg
```""", ".pt2": """```python
module = torch.export.load("{file}").module()
outputs = module(torch.from_numpy(squares))  # a dictionary
```"""}
    return "\n\n".join(ways[PurePath(file).suffix].replace("{file}", file) for file in files)


def _table(exported: Sequence[tuple[str, dict[str, float]]]) -> str:
    names = list(exported[0][1])
    rows = [["file", *names], ["---", *["--:"] * len(names)],
            *([file, *(f"{found[name]:.1e}" for name in names)] for file, found in exported)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
