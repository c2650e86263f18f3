"""Attention in a real browser: patches are asked, through networks and models."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import keep, needs_chromium, nudge, open_photos
from conftest import ASSETS, shared
from PIL import Image
from playwright.sync_api import Page, expect

from ulsad.photos.images import find_images

pytestmark = [needs_chromium, pytest.mark.slow]


def answers(page: Page, name: str):
    return page.locator(f"#attention [data-name={name}]")


def asked(page: Page, row: int, column: int) -> None:
    expect(answers(page, "photo").locator("span")).to_have_text(f"row {row}, column {column}")
    for box, value in (("patch-row", row), ("patch-column", column)):
        expect(page.locator(f"#{box} input")).to_have_value(str(value))


def click_photo(page: Page, x: float, y: float) -> None:
    """In px of the photo's stage from its upper left corner, from the lower right one where negative."""
    stage = answers(page, "photo").locator(".stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.click(box["x"] + x + (box["width"] if x < 0 else 0),
                     box["y"] + y + (box["height"] if y < 0 else 0))


def test_attention_shows_the_photos_that_are_open_in_inspect(page, demo_set):
    photos = find_images(demo_set / "test/good")
    expect(page.locator("#batch .row b")).to_have_count(8)
    open_photos(page, photos)
    expect(page.locator("#batch .row")).to_have_count(len(photos))
    strangest = page.locator("#batch .name").first.inner_text()
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#attention-photos .thumbnail-item")).to_have_count(len(photos))
    expect(page.locator("#attention-photos .caption-label").first).to_have_text(Path(strangest).stem)
    expect(answers(page, "self")).to_be_visible()
    with page.expect_download() as download:
        page.locator("#attention [data-name=self] .save").click()
    assert download.value.suggested_filename == f"{Path(strangest).stem} self.png"
    page.get_by_role("tab", name="Inspect").click()
    page.locator("#inspect-open .empty").click()
    expect(page.locator("#batch .row b")).to_have_count(8)
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#attention-photos .thumbnail-item")).to_have_count(8)
    page.get_by_role("tab", name="Inspect").click()


def test_a_patch_asks_by_click_hover_keys_and_boxes(page):
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#concepts figure")).to_have_count(4)
    keep(page, "7-attention")
    click_photo(page, 60, 60)
    box = answers(page, "photo").locator(".stage").bounding_box()
    asked(page, int(60 / box["height"] * 32), int(60 / box["width"] * 32))
    before = answers(page, "self").locator(".heat").get_attribute("src")
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.7 * box["height"], steps=4)
    expect(answers(page, "photo").locator("span")).to_have_text("row 22, column 22")
    page.mouse.move(box["x"], box["y"] - 200)
    expect(answers(page, "self").locator(".heat")).to_have_attribute("src", before)
    page.locator("#patch-row input").fill("30")
    page.locator("#patch-column input").fill("4")
    expect(answers(page, "photo").locator("span")).to_have_text("row 30, column 4")
    stage = answers(page, "photo").locator(".stage")
    stage.press("ArrowDown")
    asked(page, 31, 4)
    stage.press("ArrowDown")
    asked(page, 31, 4)
    for _ in range(6):  # faster than answers come
        page.keyboard.press("ArrowRight")
    asked(page, 31, 10)
    requests = []
    page.on("request", lambda request: requests.append(request) if "/run/" in request.url else None)
    stage.evaluate("""(it) => { for (let i = 0; i < 6; i++)
        it.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true})); }""")
    asked(page, 31, 16)
    assert len(requests) < 6  # two where the machine is not busy: the first, and once it is answered the last
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    expect(answers(page, "photo").locator("span")).not_to_have_text("row 31, column 16")
    stage.press("ArrowLeft")  # while the mouse rests on another patch
    asked(page, 31, 15)
    page.locator("#patch-row input").fill("99")
    page.locator("#patch-column input").fill("-3")
    asked(page, 31, 0)
    page.locator("#concepts figure .stage").first.click()
    expect(answers(page, "photo").locator("span")).not_to_have_text("row 31, column 0")


def look_through(page: Page, network: str) -> None:
    page.locator("#attention-network input").click()
    page.get_by_role("option", name=network, exact=True).click()


def test_unreadable_weights_take_the_place_of_the_answers(page, models_dir):
    weights = models_dir / "weights/resnet18-f37072fd.pth"
    weights.parent.mkdir()
    weights.write_bytes(b"nothing of use")
    look_through(page, "resnet18")
    expect(page.locator("#attention .text")).to_contain_text("not a readable PyTorch weights file")
    expect(answers(page, "photo")).to_be_hidden()
    expect(page.locator("#concepts figure")).to_have_count(0)
    expect(page.locator("#attention-weights")).to_be_visible()
    keep(page, "7-attention-without-weights")
    weights.unlink()
    look_through(page, "efficientnet_lite0")
    expect(answers(page, "photo")).to_be_visible()
    expect(page.locator("#concepts figure")).to_have_count(4)
    expect(page.locator("#attention-weights")).to_be_hidden()


def test_another_network_with_its_weights_file(page):
    file = next(iter(shared("weights").glob("resnet18*.pth")))
    before = answers(page, "self").locator(".heat").get_attribute("src")
    look_through(page, "resnet18")
    page.locator("#attention-weights input[type=file]").set_input_files(str(file))
    expect(answers(page, "photo")).to_be_visible()
    expect(answers(page, "self").locator(".heat")).not_to_have_attribute("src", before)
    page.get_by_label("Layer j", exact=True).click()
    offered = [text.split()[-1] for text in page.get_by_role("option").all_inner_texts()]  # one has a tick
    assert offered == ["layer1", "layer2", "layer3"]
    page.get_by_role("option", name="layer1").click()
    expect(page.locator("#attention .text")).to_contain_text("64 × 64")
    look_through(page, "efficientnet_lite0")
    expect(page.locator("#attention .text")).to_contain_text("32 × 32")


@pytest.mark.parametrize("size", [(800, 200), (200, 800)])
def test_corners_and_border_of_long_photos(page, tmp_path, size):
    file = tmp_path / f"{size[0]} x {size[1]}.png"
    Image.effect_noise(size, 80).save(file)
    page.locator("#attention-photos input[type=file]").set_input_files(str(file))
    photo = answers(page, "photo").locator(".photo")
    page.wait_for_function("""(aspect) => {
        const photo = document.querySelector('#attention [data-name=photo] .photo');
        return Math.abs(photo.naturalWidth / photo.naturalHeight - aspect) < 0.01; }""",
                           arg=size[0] / size[1])
    box = answers(page, "photo").locator(".stage").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(size[0] / size[1], rel=0.02)
    for x, y, row, column in ((1, 1, 0, 0), (-1, 1, 0, 31), (-1, -1, 31, 31), (1, -1, 31, 0)):
        click_photo(page, x, y)
        asked(page, row, column)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] + 4)  # beside the photo: no patch
    page.mouse.click(box["x"] - 4, box["y"] + box["height"] / 2)
    page.wait_for_timeout(300)
    asked(page, 31, 0)
    assert photo.is_visible()


def test_attention_through_the_model_and_the_figure(page):
    good, missing = sorted((ASSETS / "demo").glob("[01]*"))
    page.locator("#attention-photos input[type=file]").set_input_files([str(good), str(missing)])
    expect(answers(page, "other")).to_be_visible()
    look_through(page, "the model chosen above")
    errors = [answers(page, name).locator("span") for name in ("error", "error-other")]
    expect(errors[0]).to_contain_text("at most")
    good_error, missing_error = (float(note.inner_text().split("at most ")[1]) for note in errors)
    assert missing_error > 4 * good_error
    expect(page.locator("#attention .losses td")).to_have_count(9)
    keep(page, "8-attention-with-model")
    page.locator("#captions input, #captions textarea").first.fill("gear; bolts")
    page.locator("#make-figure").click()
    expect(page.locator("#figure a[download]")).to_have_count(2, timeout=60_000)
    nudge(page, "concept-count", "ArrowRight", 1)
    expect(page.locator("#concepts figure")).to_have_count(5)
    expect(page.locator("#figure")).to_be_hidden()
    with page.expect_download() as download:
        page.locator("#concepts .save").first.click()
    assert Image.open(download.value.path()).size == (640, 480)
    assert page.problems == []


def test_the_browser_met_no_error(page):
    assert page.problems == []
