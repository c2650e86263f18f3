"""The app as a user meets it: a real server, a real browser.

Set ULSAD_SCREENSHOTS to a folder to keep pictures of every stage.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from ulsad.images import find_images

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def address(models_dir):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--models-dir", str(models_dir)], cwd=ROOT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_served(address, app)
        yield address
    finally:
        app.terminate()
        app.wait(30)


def _wait_until_served(address: str, app: subprocess.Popen) -> None:
    for _ in range(600):
        assert app.poll() is None, "the app ended while starting"
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the app did not answer within a minute")


@pytest.fixture(scope="module")
def page(address):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        page = browser.new_page(viewport={"width": 1440, "height": 1300})
        page.set_default_timeout(60_000)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(address)
        yield page
        browser.close()


def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("ULSAD_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def picture(page: Page, place: str) -> str:
    """The address of the picture shown in a component; it changes with its content."""
    image = page.locator(f"#{place} img").first
    image.wait_for(state="attached")
    return image.get_attribute("src")


def expect_new_picture(page: Page, place: str, before: str) -> None:
    expect(page.locator(f"#{place} img").first).not_to_have_attribute("src", before)


def drag(page: Page, slider: str, key: str, times: int) -> None:
    handle = page.locator(f"#{slider} input[type=range]")
    handle.focus()
    for _ in range(times):
        handle.press(key)


def test_inspect_opens_with_the_demo(page):
    for i in range(4):
        picture(page, f"view-{i}")
    expect(page.locator("#summary")).to_contain_text("Neither branch fired")  # the first photo is a good one
    keep(page, "0-inspect-good")


def test_a_missing_part_makes_a_branch_fire(page):
    before = picture(page, "view-3")
    page.locator("#inspect-photos .thumbnail-item").nth(1).click()
    expect_new_picture(page, "view-3", before)
    expect(page.locator("#summary .verdict")).to_contain_text("By chance alone")
    expect(page.locator("#summary .score.fired")).not_to_have_count(0)
    keep(page, "1-inspect-demo")


def test_alpha_changes_the_maps_and_not_the_photo(page):
    photo, combined = picture(page, "view-0"), picture(page, "view-3")
    drag(page, "alpha", "ArrowLeft", 20)
    expect_new_picture(page, "view-3", combined)
    keep(page, "2-inspect-alpha")
    assert picture(page, "view-0").rsplit("/", 1)[-1] == photo.rsplit("/", 1)[-1]


def test_train_on_dropped_photos_and_inspect_the_result(page, demo_set, models_dir):
    page.get_by_role("tab", name="Train").click()
    photos = [str(path) for path in find_images(demo_set / "train/good")]
    page.locator("#good-parts input[type=file]").set_input_files(photos)
    page.get_by_label("Name of the model").fill("my parts")
    page.get_by_text("Settings", exact=True).click()
    page.get_by_label("Steps").fill("12")
    expect(page.locator("#good-parts")).to_contain_text(Path(photos[0]).stem)
    keep(page, "3-train-ready")
    page.locator("#train").click()
    expect(page.locator("#run-status")).to_contain_text("Training", timeout=120_000)
    keep(page, "4-train-running")
    expect(page.locator("#run-status")).to_contain_text("Finished", timeout=240_000)
    keep(page, "5-train-finished")
    assert (models_dir / "my parts" / "model.safetensors").exists()
    before = picture(page, "view-3")
    page.locator("#open-in-inspect").click()
    expect(page.locator("#model input")).to_have_value("my parts")
    expect_new_picture(page, "view-3", before)
    expect(page.locator("#inspect-photos .thumbnail-item")).to_have_count(2)  # its held-out photos
    keep(page, "6-inspect-own-model")


def test_a_clicked_patch_asks_for_its_attention(page):
    page.get_by_role("tab", name="Attention").click()
    before = picture(page, "attention-map")
    keep(page, "7-attention")
    page.locator("#attention-photo img").first.click(position={"x": 60, "y": 60})
    expect_new_picture(page, "attention-map", before)
    expect(page.locator("#concepts img")).to_have_count(4)
    keep(page, "8-attention-clicked")


def test_evaluate_on_labelled_photos_and_open_a_mistake(page, demo_set):
    page.get_by_role("tab", name="Evaluate").click()
    for slot, folder in (("test-good", "good"), ("test-defects", "logical_anomalies")):
        photos = [str(path) for path in find_images(demo_set / "test" / folder)]
        page.locator(f"#{slot} input[type=file]").set_input_files(photos)
        expect(page.locator(f"#{slot}")).to_contain_text(Path(photos[0]).stem)
    page.locator("#evaluate").click()
    expect(page.locator("#confusion")).to_contain_text("held-out good photos", timeout=240_000)
    expect(page.locator("#evaluation-status")).to_contain_text("photos scored by 'my parts'")
    expect(page.locator("#evaluation-numbers")).to_contain_text("AUROC")
    for plot in ("curves", "kinds", "grid"):
        picture(page, f"evaluation-{plot}")
    keep(page, "a-evaluate")
    before = picture(page, "view-0")
    page.locator("#mistakes .thumbnail-item").first.click()
    expect_new_picture(page, "view-0", before)
    expect(page.get_by_role("tab", name="Inspect")).to_have_attribute("aria-selected", "true")


def test_evaluate_without_defects_says_what_is_missing(page):
    page.get_by_role("tab", name="Evaluate").click()
    page.locator("#test-defects button[aria-label='Clear']").first.click()
    page.locator("#evaluate").click()
    expect(page.locator("#evaluation-status")).to_contain_text("at least one of each")
    keep(page, "b-evaluate-incomplete")


def test_an_unreadable_photo_says_what_is_wrong(page, tmp_path):
    page.get_by_role("tab", name="Inspect").click()
    (tmp_path / "text.png").write_text("not a photo")
    page.locator("#inspect-photos input[type=file]").set_input_files(str(tmp_path / "text.png"))
    expect(page.get_by_text("not a PNG, JPEG").first).to_be_visible()
    keep(page, "9-inspect-unreadable")


def test_the_browser_met_no_error(page):
    assert page.problems == []
