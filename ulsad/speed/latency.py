"""Measure how fast the app responds, on the server and in a real browser."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ulsad.detector.batch import tally
from ulsad.evaluation.tables import Table
from ulsad.ui import batches, library
from ulsad.ui.attention.views import MODEL, STANDARDISED, Looking, View
from ulsad.ui.inspect.views import ALL, Controls, criterion, suggested_lines

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
STARTS = 3  # of the app, at most

# Acts with a number, and waits until the new map is decoded and a frame with it has been drawn.
_TIMED = """async (number) => {
  const heat = document.querySelector('%s .heat'), before = heat.src;
  const start = performance.now();
  %s
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  while (heat.src === before) await frame();
  await heat.decode();
  await frame();
  return performance.now() - start;
}"""
_MOVE_ALPHA = _TIMED % ("#viewer [data-name=combined]", """
  const slider = document.querySelector('#alpha input[type=range]');
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(slider, number);
  slider.dispatchEvent(new Event('input', {bubbles: true}));""")
_CLICK_PHOTO = _TIMED % ("#viewer [data-name=combined]", """
  document.querySelectorAll('#batch .row')[number].click();""")
_CLICK_PATCH = _TIMED % ("#attention [data-name=self]", """
  const stage = document.querySelector('#attention [data-name=photo] .stage');
  const box = stage.getBoundingClientRect();
  stage.dispatchEvent(new MouseEvent('click', {
    bubbles: true, clientX: box.left + number * box.width, clientY: box.top + box.height / 2}));""")


def of_app(files: list[Path], batch: int, rounds: int, folder: Path, machine: str) -> Table:
    """Waiting times with `batch` photos open in the app, over `rounds` moves of α."""
    rows = tuple(_app(files, batch, rounds, folder))
    return Table("The app", ("what", "median", "from", "to", "unit"), rows, machine)


def _app(files: list[Path], batch: int, rounds: int, folder: Path) -> Iterator[tuple]:
    large = folder / "1024 x 1024.jpg"
    Image.open(files[0]).resize((1024, 1024)).save(large, quality=95)
    alphas = np.linspace(0.7, 0.95, rounds).round(3).tolist()
    places = ((np.arange(rounds) * 7 % 32 + 0.5) / 32).tolist()  # each in a different patch from the last
    yield _start(folder / "models", min(STARTS, rounds))
    yield from _commands(files[0], folder, min(STARTS, rounds))
    yield from _on_the_server(large, files, batch, folder, alphas)
    yield _clicks_on_the_server(folder, places)
    yield from _in_a_browser(large, folder / "models", alphas, places)


def demo_jpegs(folder: Path, count: int) -> list[Path]:
    """`count` JPEGs of 800 x 600 px, repeating the demo photos."""
    folder.mkdir()
    images = [Image.open(path).resize((800, 600)) for path in library.demo_photos()]
    files = [folder / f"{i}.jpg" for i in range(count)]
    for i, file in enumerate(files):
        images[i % len(images)].save(file, quality=90)
    return files


def _row(what: str, values: list[float], unit: str) -> tuple:
    return what, f"{statistics.median(values):.1f}", f"{min(values):.1f}", f"{max(values):.1f}", unit


def _start(models_dir: Path, rounds: int) -> tuple:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        with served(models_dir):
            times.append(time.perf_counter() - start)
    return _row("app.py started, until the page answers", times, "s")


def _commands(photo: Path, folder: Path, rounds: int) -> Iterator[tuple]:
    """Times of whole commands, from the start of the process to its end."""
    outs = [folder / f"out {i}" for i in range(rounds)]
    predict = ["predict", str(library.DEMO_MODEL), str(photo), "--out"]
    yield _row("python -m ulsad --help", [1000 * _command(["--help"]) for _ in outs], "ms")
    yield _row("python -m ulsad predict, one photo", [_command([*predict, str(out)]) for out in outs], "s")


def _command(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ulsad", *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def _on_the_server(
    large: Path, files: list[Path], batch: int, models_dir: Path, alphas: list[float]
) -> list[tuple]:
    """Times to redraw the whole tab, with a single photo and with a batch."""
    rows = []
    for count in (1, batch):
        wanted = [large, *(files[i % len(files)] for i in range(count - 1))]
        request = batches.Request(tuple((path, path.name) for path in wanted))
        key = batches.begun(library.DEMO, models_dir, request)
        for _ in batches.score(key):
            pass
        lines = suggested_lines(batches.recalled(key).detector, 0.9, 0.995, 0.25, "sum", 0.05)
        controls = Controls(key, 0, 0.9, 0.995, 0.25, "sum", lines, False, ALL, ALL)
        controls.draw()
        times = []
        for alpha in alphas:
            start = time.perf_counter()
            controls._replace(alpha=alpha).draw()
            times.append(1000 * (time.perf_counter() - start))
        rows.append(_row(f"α moved, on the server, 1024 x 1024 px, batch of {count}", times, "ms"))
    judged = []
    for alpha in alphas:
        start = time.perf_counter()
        tally([of.verdict for of in batches.recalled(key).batch.judged(
            criterion(alpha, 0.995, 0.25, "sum", lines))])
        judged.append(1000 * (time.perf_counter() - start))
    return [*rows, _row(f"{batch} photos scored, judged and counted anew", judged, "ms")]


def _clicks_on_the_server(models_dir: Path, places: list[float]) -> tuple:
    """Times to compute the attention of patches over two photos, teacher and global branch."""
    first, second = map(str, library.demo_photos()[:2])
    looking = Looking((first, second), MODEL, "", "", None, STANDARDISED, 1.0, library.DEMO, (0, 0))
    View(looking, models_dir).value()
    times = []
    for x in places:
        start = time.perf_counter()
        View(looking._replace(place=(x, 0.5)), models_dir).value()
        times.append(1000 * (time.perf_counter() - start))
    return _row("a patch clicked in Attention, on the server, with a model", times, "ms")


def _in_a_browser(
    large: Path, models_dir: Path, alphas: list[float], places: list[float]
) -> list[tuple]:
    moved = "α moved, until the browser shows it, 1024 x 1024 px"
    chosen = "a photo clicked in Inspect's list, until the browser shows it"
    clicked = "a patch clicked in Attention, until the browser shows it"
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        executable = None
    if executable is None:
        return [(what, "not measured: needs chromium and the package playwright", "", "", "ms")
                for what in (moved, chosen, clicked)]
    with served(models_dir) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable,
                                             args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(address)
        page.locator("#batch .row b").nth(7).wait_for()
        page.wait_for_timeout(1000)
        chosen_photos = _repeated(page, _CLICK_PHOTO, [1 + i % 7 for i in range(len(alphas))])
        page.locator("#inspect-open input.files").set_input_files(str(large))
        page.locator("#batch .shown", has_text="1 photo").wait_for()
        page.wait_for_timeout(1000)
        redraws = _repeated(page, _MOVE_ALPHA, alphas)
        page.get_by_role("tab", name="Attention").click()
        page.locator("#concepts figure").nth(3).wait_for()
        clicks = _repeated(page, _CLICK_PATCH, places)
        browser.close()
    return [_row(moved, redraws, "ms"), _row(chosen, chosen_photos, "ms"), _row(clicked, clicks, "ms")]


def _repeated(page: Page, script: str, arguments: list[float]) -> list[float]:
    """A script's results for each argument, with short pauses in between."""
    times = []
    for argument in arguments:
        times.append(page.evaluate(script, argument))
        page.wait_for_timeout(100)
    return times


@contextmanager
def served(models_dir: Path, *options: str, **environment: str) -> Iterator[str]:
    """Run the app in a separate process; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ulsad", "app", "--port", str(port), "--models-dir", str(models_dir)]
    app = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.DEVNULL,
                           env=os.environ | environment)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_served(address, app)
        yield address
    finally:
        app.terminate()
        app.wait(30)


def _wait_until_served(address: str, app: subprocess.Popen) -> None:
    for _ in range(600):
        if app.poll() is not None:
            raise RuntimeError("the app ended while starting")
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the app did not answer within a minute")
