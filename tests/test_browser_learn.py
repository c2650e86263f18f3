"""Learn in a real browser: through all steps by keys, with another photo, a spoiled copy, another patch."""

from __future__ import annotations

import pytest
from browser import keep, needs_chromium
from conftest import DEMO_MODEL, DEMO_PHOTOS
from PIL import Image
from playwright.sync_api import Page, expect

from ulsad import Ulsad

pytestmark = [needs_chromium, pytest.mark.slow]

# Presses the key for the next step, and waits until a frame with its decoded pictures has been drawn.
NEXT_STEP = """async () => {
  const start = performance.now(), title = document.querySelector('#learn h2').textContent;
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  while (document.querySelector('#learn h2').textContent === title) await frame();
  await Promise.all([...document.querySelectorAll('#learn img')].map((picture) => picture.decode()));
  await frame();
  return performance.now() - start;
}"""


@pytest.fixture(scope="module")
def models_dir(models_dir):
    """With a model whose maps are combined as in the paper."""
    papers = Ulsad.load(DEMO_MODEL).recalibrated(DEMO_PHOTOS[:2], combination="mean", global_weight=1)
    papers.save(models_dir / "other.safetensors")
    return models_dir


def title(page: Page):
    return page.locator("#learn h2")


def numbers(page: Page):
    return page.locator("#learn table.numbers")


def choose_photo(page: Page, name: str) -> None:
    page.locator("#learn-photo input").click()
    page.get_by_role("option", name=name, exact=True).click()
    expect(page.locator("#learn h3").first).to_have_text(name)
    title(page).click()  # keys move through the steps where no input has the focus


def click_patch(page: Page, picture: str, row: int, column: int) -> None:
    stage = page.locator(f"#learn [data-name='{picture}'] .stage")
    box = stage.bounding_box()
    stage.click(position={"x": (column + 0.5) / 32 * box["width"], "y": (row + 0.5) / 32 * box["height"]})


def test_nothing_is_there_before_the_tab_is_opened(page):
    expect(page.locator("#batch .row b")).to_have_count(8)
    shown = page.locator("#summary .verdict").inner_text()
    expect(page.locator("#learn figure")).to_have_count(0)
    page.get_by_role("tab", name="Learn", exact=True).click()
    expect(page.locator("#learn .pictures figure")).to_have_count(2)
    assert page.locator("#learn h3").inner_text() in shown  # the photo that Inspect shows


def test_keys_lead_through_all_steps_and_back(page):
    choose_photo(page, "0 good")
    expect(title(page)).to_have_text("1. The photo")
    taken = []
    for step in range(2, 10):
        taken.append(page.evaluate(NEXT_STEP))
        expect(title(page)).to_contain_text(f"{step}. ")
        expect(page.locator("#learn .dots [aria-current]")).to_have_text(str(step))
        assert page.locator("#learn .pictures figure").count() >= 2
        keep(page, f"9-learn-{step}")
    print(f"ms for a step: {[round(each) for each in taken]}")
    assert sorted(taken)[len(taken) // 2] < 300
    expect(numbers(page)).to_contain_text("PASS")
    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("9. Verdict")
    for step in range(8, 0, -1):
        page.keyboard.press("ArrowLeft")
        expect(title(page)).to_contain_text(f"{step}. ")
    page.keyboard.press("ArrowLeft")
    expect(title(page)).to_have_text("1. The photo")
    page.locator("#learn .on").click()
    page.locator("#learn [data-step='4']").click()
    expect(title(page)).to_have_text("5. Local map")
    page.locator("#learn .back").click()
    expect(title(page)).to_have_text("4. Local branch ψ")


def test_a_click_chooses_a_patch_on_any_picture(page):
    before = numbers(page).inner_text()
    click_patch(page, "reconstruction", 8, 24)
    expect(numbers(page)).to_contain_text("row 8, column 24")
    assert numbers(page).inner_text() != before
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    expect(numbers(page)).to_contain_text("row 11, column 24")
    page.keyboard.press("ArrowRight")
    expect(numbers(page)).to_contain_text("row 11, column 24")


def test_a_copy_with_a_part_erased_goes_along(page):
    page.locator("#learn [data-step='6']").click()
    click_patch(page, "global", 12, 13)
    expect(numbers(page)).to_contain_text("row 12, column 13")
    page.locator("#learn-beside input").nth(2).check()
    expect(page.locator("#learn .side")).to_have_count(2)
    title(page).click()
    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("8. Global map")
    expect(page.locator("#learn .parting")).to_contain_text("They part most at step 8")
    keep(page, "9-learn-beside")
    page.keyboard.press("ArrowRight")
    expect(numbers(page)).to_contain_text("FAIL")
    page.locator("#learn-beside input").nth(1).check()
    expect(page.locator("#learn h3").last).to_have_text("0 good, copy with a scratch")
    page.locator("#learn [data-step='4']").click()
    expect(page.locator("#learn .parting")).to_contain_text("They part most at step 5")


def test_keys_belong_to_the_control_that_has_the_focus(page):
    page.locator("#learn-beside input").nth(0).check()
    expect(page.locator("#learn .side")).to_have_count(1)
    page.locator("#learn-photo input").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    expect(title(page)).to_have_text("5. Local map")
    title(page).click()


def test_another_photo_keeps_the_step(page):
    choose_photo(page, "1 missing")
    expect(title(page)).to_have_text("5. Local map")
    page.locator("#learn [data-step='8']").click()
    expect(numbers(page)).to_contain_text("FAIL")


@pytest.mark.parametrize(("step", "name"), [(1, "raw"), (7, "global equation"), (7, "global")])
def test_a_picture_is_downloaded(page, step, name):
    page.locator(f"#learn [data-step='{step}']").click()
    with page.expect_download() as download:
        page.locator(f"#learn [data-name='{name}'] .save").click()
    assert download.value.suggested_filename == f"1 missing step {step + 1} {name}.png"
    assert Image.open(download.value.path()).size == (640, 480)


def test_presentation_fills_the_window_and_escape_leaves_it(page):
    page.set_viewport_size({"width": 1280, "height": 720})
    page.locator("#learn .present").click()
    lesson = page.locator("#learn .lesson")
    assert lesson.bounding_box() == {"x": 0, "y": 0, "width": 1280, "height": 720}
    for step in range(9):
        page.locator(f"#learn [data-step='{step}']").click()
        assert lesson.evaluate("(it) => it.scrollHeight <= 720 && it.scrollWidth <= 1280"), step
    keep(page, "9-learn-presented")
    page.keyboard.press("ArrowLeft")
    expect(title(page)).to_have_text("8. Global map")
    page.keyboard.press("Escape")
    assert lesson.bounding_box()["y"] > 0
    page.set_viewport_size({"width": 1440, "height": 1300})


def test_keys_do_nothing_in_another_tab(page):
    page.get_by_role("tab", name="Inspect", exact=True).click()
    page.keyboard.press("ArrowLeft")
    page.locator("#batch .row").nth(3).click()
    name = page.locator("#batch .name").nth(3).inner_text()
    expect(page.locator("#summary .verdict")).to_contain_text(name)
    page.get_by_role("tab", name="Learn", exact=True).click()
    expect(page.locator("#learn h3").first).to_have_text(name.removesuffix(".jpg"))
    expect(title(page)).to_have_text("8. Global map")


def test_another_model_draws_the_same_step_again(page):
    page.locator("#learn [data-step='8']").click()
    expect(page.locator("#learn .beyond")).to_contain_text("The paper takes the mean of both maps.")
    page.locator("#part input").click()
    page.get_by_role("option", name="other", exact=True).click()
    expect(page.locator("#learn .beyond")).to_be_empty()
    expect(page.locator("#learn .equation")).to_contain_text("/ 2")
    expect(title(page)).to_have_text("9. Verdict")


def test_the_browser_met_no_error(page):
    assert page.problems == []
