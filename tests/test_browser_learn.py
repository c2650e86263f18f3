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


def number(page: Page, label: str):
    """The first photo's."""
    return numbers(page).locator("tr", has_text=label).locator("td").nth(1)


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
    expect(page.locator("#learn .diagram .now")).to_have_text(["ψ", "Ũ′"])
    page.locator("#learn .node", has_text="A").click()
    expect(title(page)).to_have_text("6. Self-attention")
    page.locator("#learn .node", has_text="ψ").click()
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


@pytest.mark.parametrize(("step", "name", "form"), [(1, "raw", "png"), (7, "global equation", "pdf"),
                                                    (7, "global", "png")])
def test_a_picture_is_downloaded(page, step, name, form):
    page.locator(f"#learn [data-step='{step}']").click()
    with page.expect_download() as download:
        page.locator(f"#learn [data-name='{name}'] [data-form={form}]").click()
    assert download.value.suggested_filename == f"1 missing step {step + 1} {name}.{form}"
    content = download.value.path().read_bytes()
    if form == "pdf":
        assert content.startswith(b"%PDF")
    else:
        assert Image.open(download.value.path()).size == (1050, 788)


def choose_networks(page: Page, name: str) -> None:
    page.locator("#learn select").select_option(name)
    expect(page.locator("#learn .waiting")).to_have_count(0)
    title(page).click()


def test_small_models_go_through_the_same_steps(page):
    page.locator("#learn [data-step='7']").click()
    before = page.locator("#learn [data-name='global'] img").get_attribute("src")
    choose_networks(page, "unlinked")
    expect(page.locator("#learn .equation")).to_contain_text("without Ũ″")
    expect(page.locator("#learn .look")).to_contain_text("every edge differs")
    expect(page.locator("#learn .node", has_text="Ũ″")).to_have_count(0)
    assert page.locator("#learn [data-name='global'] img").get_attribute("src") != before
    page.locator("#learn [data-step='8']").click()
    expect(page.locator("#learn .found .chosen")).to_contain_text("L_lg left out")
    keep(page, "9-learn-what-if")


def test_it_is_watched_while_it_learns(page):
    choose_networks(page, "whole")
    page.locator("#learn [data-step='3']").click()
    slider, values = page.locator("#learn .learning input"), []
    for stage, step in ((0, 1), (6, 200), (11, 960)):
        slider.fill(str(stage))
        expect(page.locator("#learn .losses span").first).to_contain_text(f"at step {step} of 960")
        expect(page.locator("#learn .waiting")).to_have_count(0)
        values.append(number(page, "lv + λl ld").inner_text())
        keep(page, f"9-learn-at-{step}")
    assert len(set(values)) == 3
    choose_networks(page, "")
    expect(page.locator("#learn .learning")).to_be_empty()


def test_the_last_of_many_fast_choices_is_shown(page):
    choose_networks(page, "whole")
    page.evaluate("""async () => {
      for (const stage of [10, 8, 6, 4, 2]) {
        const slider = document.querySelector('#learn .learning input');
        slider.value = stage;
        slider.dispatchEvent(new Event('input', {bubbles: true}));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }""")
    expect(page.locator("#learn .losses span").first).to_contain_text("at step 20 of 960")
    expect(page.locator("#learn .waiting")).to_have_count(0)
    expect(page.locator("#learn .learning input")).to_have_value("2")
    page.locator("#learn .present").click()
    page.locator("#learn .learning input").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#learn .presenting")).to_have_count(0)
    choose_networks(page, "")
    page.locator("#learn [data-step='4']").click()
    for ticked in (False, True):
        page.evaluate("document.querySelectorAll('#learn [data-addition]').forEach((box) => box.click())")
        expect(page.locator("#learn .waiting")).to_have_count(0)
        for box in page.locator("#learn [data-addition]").all():
            expect(box).to_be_checked(checked=ticked)
        expect(page.locator("#learn .pictures figure")).to_have_count(5 if ticked else 1)


def test_an_addition_is_left_out_and_comes_back(page):
    page.locator("#learn [data-step='4']").click()
    expect(page.locator("#learn .pictures figure")).to_have_count(5)
    page.locator("#learn [data-addition='bank']").uncheck()
    expect(page.locator("#learn .pictures figure")).to_have_count(3)
    expect(page.locator("#learn .about")).to_contain_text("measured again")
    page.locator("#learn [data-addition='bank']").check()
    expect(page.locator("#learn .pictures figure")).to_have_count(5)
    title(page).click()


def test_a_quantile_is_moved_with_the_mouse_and_by_keys(page):
    page.locator("#learn [data-step='8']").click()
    levels = numbers(page).locator("tr", has_text="α, β")
    expect(levels).to_contain_text("0.9, 0.995")
    score = number(page, "score s").inner_text()
    handle = page.locator("#learn [data-branch='local'] .handle[data-level='alpha']")
    box, plot = handle.bounding_box(), page.locator("#learn [data-branch='local'] .plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(plot["x"] + 0.1 * plot["width"], box["y"], steps=4)
    page.mouse.up()
    expect(levels).not_to_contain_text("0.9, 0.995")
    expect(number(page, "score s")).not_to_have_text(score)
    keep(page, "9-learn-moved")
    moved = levels.inner_text()
    handle.focus()
    page.keyboard.press("ArrowRight")
    expect(levels).not_to_have_text(moved)
    expect(title(page)).to_have_text("9. Verdict")  # the key moved the quantile, not the step
    page.locator("#learn .reset").click()
    expect(levels).to_contain_text("0.9, 0.995")
    expect(number(page, "score s")).to_have_text(score)
    title(page).click()


def test_the_lesson_is_a_page_to_print(page):
    with page.context.expect_page() as opened:
        page.locator("#learn .print").click()
    printed = opened.value
    expect(printed.locator("h2")).to_have_count(11)  # nine steps, questions, answers
    expect(printed.locator("h1")).to_have_text("ULSAD in ten minutes")
    pictures = printed.locator("img")
    assert pictures.count() > 25
    printed.wait_for_function("() => [...document.images].every((it) => it.complete)")
    assert pictures.evaluate_all("(all) => all.every((it) => it.naturalWidth > 0)")
    assert printed.locator("li").count() == 10
    assert printed.locator("section").nth(8).inner_text().count("q") > 3
    printed.close()


def test_presentation_fills_the_window_and_escape_leaves_it(page):
    page.set_viewport_size({"width": 1280, "height": 720})
    page.locator("#learn .present").click()
    lesson = page.locator("#learn .lesson")
    assert lesson.bounding_box() == {"x": 0, "y": 0, "width": 1280, "height": 720}
    for networks in ("", "whole", "unlinked"):
        choose_networks(page, networks)
        for step in range(9 if not networks else 8):  # the last one has a table below
            page.locator(f"#learn [data-step='{step}']").click()
            keep(page, f"9-learn-presented-{networks}-{step + 1}")
            assert lesson.evaluate("(it) => it.scrollHeight <= 720 && it.scrollWidth <= 1280"), step
    choose_networks(page, "")
    page.locator("#learn [data-step='8']").click()
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
