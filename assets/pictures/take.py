"""Take the README's pictures of the app: python assets/pictures/take.py [FOLDER]

Draws part trays, trains on them in the app, and takes a picture of each tab. Needs chromium and playwright
(tests/requirements.txt) and, with the training, some minutes.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ulsad.demo.dataset import write_demo
from ulsad.speed.latency import BROWSERS, served

WIDTH, HEIGHT = 1360, 850  # px of the window
LONG = 900_000  # ms; a training
NAME = "part tray"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=120_000)
    chromium = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        photos = Path(scratch) / "tray"
        write_demo(photos, seed=2, train=60, validation=0, test_good=4, per_kind=2)
        with served(Path(scratch) / "models") as address:
            browser = playwright.chromium.launch(executable_path=chromium,
                                                 args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(address)
            expect(page.locator("#batch .row b")).to_have_count(8)
            drop(page, photos)
            keep(page, folder / "drop.webp", height=1380)
            train(page)
            keep(page, folder / "train.webp")
            expect(page.locator("#run-status")).to_contain_text("Finished", timeout=LONG)
            inspect(page, photos)
            keep(page, folder / "inspect.webp")
            attend(page)
            keep(page, folder / "attention.webp", height=1330)
            learn(page)
            keep(page, folder / "learn.webp")
            browser.close()


def drop(page: Page, photos: Path) -> None:
    page.get_by_role("tab", name="Train").click()
    page.locator("#good-parts input.folder").set_input_files(str(photos / "train/good"))
    expect(page.locator("#found tr")).not_to_have_count(0)
    for kind in ("logical_anomalies", "structural_anomalies"):
        page.locator("#known-defects input.folder").set_input_files(str(photos / "test" / kind))
        expect(page.locator("#found")).to_contain_text(kind)
    expect(page.locator("#cost")).to_contain_text("of memory")


def train(page: Page) -> None:
    """Until both branches have begun to tell defects."""
    page.get_by_label("Name of the part").fill(NAME)
    page.locator("#train").click()
    status = page.locator("#run-status")
    expect(status).to_contain_text(re.compile(r"Training (1[5-9]\d|2\d\d)/"), timeout=LONG)
    expect(page.locator("#preview img").first).to_be_visible()


def inspect(page: Page, photos: Path) -> None:
    page.locator("#open-in-inspect").click()
    expect(page.locator("#part input")).to_have_value(NAME)
    page.locator("#inspect-open input.folder").set_input_files(str(photos / "test"))
    expect(page.locator("#batch .row", has_text="logical_anomalies")).not_to_have_count(0)
    expect(page.locator("#batch .row").first).to_have_class(re.compile("selected"), timeout=LONG)


def attend(page: Page) -> None:
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#concepts figure")).to_have_count(4)


def learn(page: Page) -> None:
    """The global map of a good tray beside a copy without a part."""
    page.get_by_role("tab", name="Learn").click()
    good = page.locator("#learn-photo input")
    good.click()
    page.get_by_role("option", name=re.compile("good")).first.click()
    expect(page.locator("#learn h3").first).to_have_text(re.compile("good"))
    page.locator("#learn-beside input").nth(2).check()
    expect(page.locator("#learn .side")).to_have_count(2)
    page.locator("#learn [data-step='7']").click()


def keep(page: Page, file: Path, height: int = HEIGHT) -> None:
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.mouse.move(1, 1)
    page.wait_for_timeout(1500)  # whatever fades, has
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(file, quality=80, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
