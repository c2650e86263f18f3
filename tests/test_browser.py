"""The app as a user meets it, a real server and a real browser: Inspect."""

from __future__ import annotations

import csv
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import (
    choose_tool,
    drop_on,
    give_folder,
    keep,
    needs_chromium,
    nudge,
    open_photos,
    panel,
    said,
)
from conftest import ASSETS, DEMO_MODEL
from PIL import Image
from playwright.sync_api import Page, expect

from ulsad import Ulsad
from ulsad.__main__ import main
from ulsad.photos.images import find_images

pytestmark = [needs_chromium, pytest.mark.slow]


def rows(page: Page) -> dict[str, str]:
    """Name → the rest of what the table says of every photo."""
    return {row.locator(".name").inner_text(): row.locator("div").first.inner_text()
            for row in page.locator("#batch .row").all()}


def choose(page: Page, name: str) -> None:
    page.locator("#batch .row").filter(has_text=name).first.click()
    expect(page.locator("#summary .verdict")).to_contain_text(name)


def multiples(page: Page) -> dict[str, float]:
    """Combined, local and global score of the chosen photo, in multiples of their thresholds."""
    texts = page.locator("#summary .score small").all_inner_texts()
    return {name: float(text.split(" ×")[0]) for name, text in zip(("combined", "local", "global"), texts)}


def tally(page: Page) -> list[int]:
    return [int(text.split()[0]) for text in page.locator("#scores .tally b").all_inner_texts()]


def draw(
    page: Page, tool: str, *points: tuple[float, float], then: tuple[float, float] | None = None
) -> None:
    """Draw on the photo with a tool, from point to point in shares of it, and click afterwards."""
    choose_tool(page, tool)
    drag(page, *points, then=then)


def drag(page: Page, *points: tuple[float, float], then: tuple[float, float] | None = None) -> None:
    """The same with the tool that is chosen."""
    stage = page.locator("#viewer [data-name=photo] .stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()
    if then:
        page.mouse.click(box["x"] + then[0] * box["width"], box["y"] + then[1] * box["height"])


def heat(page: Page, name: str) -> str:
    return page.locator(f"#viewer [data-name={name}] .heat").get_attribute("src")


def test_inspect_opens_with_the_demo_strangest_first(page):
    expect(page.locator("#batch .row b")).to_have_count(8)
    expect(page.locator("#summary .verdict")).to_contain_text("FAIL")
    first = page.locator("#batch .row").first
    expect(first).to_have_class("row selected")
    expect(page.locator("#summary .verdict")).to_contain_text(first.locator(".name").inner_text())
    keep(page, "0-inspect")
    shown = [float(text.split()[-1]) for text in page.locator("#batch .row b").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    panel(page, "Reference")
    reference = page.locator("#reference .photo")
    assert reference.evaluate("image => image.decode().then(() => image.naturalWidth)") == 384


def test_a_swapped_part_makes_the_global_branch_fire(page):
    choose(page, "3 swapped.jpg")
    expect(page.locator("#summary .verdict")).to_contain_text("FAIL")
    assert multiples(page)["global"] > multiples(page)["local"] > 1
    assert page.locator("#viewer [data-name=global] .contour").last.get_attribute("d").startswith("M")
    keep(page, "1-inspect-swapped")


def test_arrow_keys_walk_through_the_table(page):
    names = page.locator("#batch .row .name").all_inner_texts()
    page.locator("#batch .row").first.click()
    for name in names[1:3]:
        page.keyboard.press("ArrowDown")
        expect(page.locator("#summary .verdict")).to_contain_text(name)
    page.keyboard.press("ArrowUp")
    expect(page.locator("#summary .verdict")).to_contain_text(names[1])


def test_hover_reads_the_maps_and_the_wheel_zooms_all_views(page):
    choose(page, "3 swapped.jpg")
    page.locator("#viewer [data-name=combined] .stage").hover()
    expect(page.locator("#viewer .readout")).to_contain_text(re.compile(r"x 3(19|20), y 2(39|40): local \d"))
    page.mouse.wheel(0, -400)
    transforms = [sheet.evaluate("sheet => sheet.style.transform")
                  for sheet in page.locator("#workspace .sheet").all()]
    assert len(transforms) == 5 and len(set(transforms)) == 1 and "scale(2.7" in transforms[0]
    page.locator("#viewer [data-name=combined] .stage").dblclick()
    assert "scale(1)" in page.locator("#viewer .sheet").first.evaluate("sheet => sheet.style.transform")


def test_alpha_moves_colours_histograms_and_verdicts(page):
    choose(page, "0 good.jpg")
    panel(page, "Maps")
    photo, before, table = heat(page, "photo"), heat(page, "combined"), rows(page)
    marks = page.locator("#pixels .label").all_text_contents()
    nudge(page, "alpha", "Home", 1)
    nudge(page, "beta", "Home", 1)  # must stay above α
    expect(page.locator("#viewer [data-name=combined] .heat")).not_to_have_attribute("src", before)
    expect(page.locator("#summary .flips")).to_contain_text("turn")
    expect(page.locator("#summary .flips")).to_contain_text("0 pass")  # thresholds stay, scores soar
    assert heat(page, "photo") == photo
    assert page.locator("#pixels .label").all_text_contents() != marks
    assert rows(page) != table
    keep(page, "2-inspect-alpha")


def test_the_model_dropdown_brings_its_own_settings_back(page):
    page.reload()
    expect(page.locator("#batch .row b")).to_have_count(8)
    expect(page.locator("#alpha input[type=number]")).to_have_value("0.9")
    expect(page.locator("#summary .flips")).to_have_text("1 pass, 0 review, 7 fail.")


def test_dragging_a_threshold_moves_the_tally(page):
    panel(page, "Threshold")
    before = tally(page)
    assert sum(before) == 8 and before[2] > 3
    grip = page.locator("#scores [data-line=fail] path")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    page.mouse.move(box["x"] + 6, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 4, steps=8)
    dragged = tally(page)
    page.mouse.up()
    assert dragged[2] < before[2] and dragged[1] > before[1] and sum(dragged) == 8
    expect(page.locator("#summary .flips")).to_contain_text(f"{dragged[2]} fail")
    keep(page, "3-inspect-threshold")
    page.get_by_role("button", name="Use the suggested thresholds").click()
    expect(page.locator("#summary .flips")).to_contain_text(f"{before[2]} fail")


def test_arrow_keys_move_a_threshold_step_by_step(page):
    panel(page, "Threshold")
    grip = page.locator("#scores [data-line=fail]")
    grip.focus()
    before = float(grip.get_attribute("aria-valuenow"))
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    once = float(grip.get_attribute("aria-valuenow"))
    page.wait_for_timeout(700)  # the server has answered
    page.keyboard.press("ArrowRight")
    assert float(grip.get_attribute("aria-valuenow")) > once > 1.2 * before
    page.wait_for_timeout(700)
    page.get_by_role("button", name="Use the suggested thresholds").click()
    expect(grip).to_have_attribute("aria-valuenow", f"{before:.3f}")


def test_a_click_in_the_scatter_selects_the_row(page):
    choose(page, "0 good.jpg")
    panel(page, "Maps")
    target = page.locator("#batch .row").first
    point = page.locator(f"#scatter circle[data-index='{target.get_attribute('data-index')}']")
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#batch .row").first).to_have_class("row selected")
    expect(page.locator("#summary .verdict")).to_contain_text(target.locator(".name").inner_text())


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720)])
def test_nothing_that_belongs_to_a_photo_needs_scrolling(page, width, height):
    before = page.viewport_size
    page.set_viewport_size({"width": width, "height": height})
    views = page.locator("#viewer .stage").all()
    panel(page, "Threshold")
    expect(page.locator("#viewer .controls")).to_be_in_viewport(ratio=0.98)
    assert len(views) == 4
    for part in (*views, *(page.locator(place) for place in (
            "#summary .verdict", "#alpha", "#beta", "#weight", "#batch .row.selected", "#scores .chart"))):
        expect(part).to_be_in_viewport(ratio=0.98)  # but for the fraction of a pixel
    box = views[0].bounding_box()
    assert box["width"] / box["height"] == pytest.approx(4 / 3, rel=0.01) and box["width"] > width / 5
    assert page.evaluate("document.documentElement.scrollHeight <= window.innerHeight")
    page.set_viewport_size(before)


def test_on_a_phone_views_are_swiped_one_by_one(page):
    before = page.viewport_size
    expect(page.locator("#batch .row b").first).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator("#viewer [data-name=photo]")).to_be_in_viewport()
    expect(page.locator("#viewer [data-name=local]")).not_to_be_in_viewport()
    page.locator("#viewer .views").evaluate("views => views.scrollBy(400, 0)")
    expect(page.locator("#viewer [data-name=local]")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    defect = page.locator("#viewer .quick .bad-part")  # beside the photo; the panel is far below
    expect(defect).to_be_in_viewport(ratio=0.98)
    defect.click()
    expect(defect).to_have_attribute("aria-pressed", "true")
    panel(page, "Mark")
    page.locator("#mark-undo").click()
    expect(defect).to_have_attribute("aria-pressed", "false")
    page.set_viewport_size(before)


def test_keys_step_through_photos_and_change_what_is_shown(page):
    names = page.locator("#batch .row .name").all_inner_texts()
    choose(page, names[0])
    page.locator("#summary").click()
    page.keyboard.press("j")
    expect(page.locator("#summary .verdict")).to_contain_text(names[1])
    page.keyboard.press("k")
    expect(page.locator("#summary .verdict")).to_contain_text(names[0])
    page.keyboard.down("g")
    expect(page.locator("#viewer .good")).to_be_visible()
    page.keyboard.up("g")
    expect(page.locator("#viewer .good")).to_be_hidden()
    page.keyboard.press("h")
    expect(page.locator("#viewer .opacity")).to_have_value("0")
    page.keyboard.press("h")
    expect(page.locator("#viewer .opacity")).to_have_value("0.6")
    page.keyboard.press("o")
    expect(page.locator("#viewer [data-name=combined] .contour").last).to_be_hidden()
    page.keyboard.press("o")
    page.keyboard.press("?")
    expect(page.locator("#panel").get_by_text("How to read this.")).to_be_visible()
    panel(page, "Save")
    page.locator("#criterion-name textarea, #criterion-name input").press_sequentially("jkgho?")
    expect(page.locator("#summary .verdict")).to_contain_text(names[0])
    page.locator("#criterion-name textarea, #criterion-name input").fill("")


def test_a_false_reject_is_marked_and_passes_once_thresholds_are_fitted(page, models_dir):
    choose(page, "0 good.jpg")
    panel(page, "Threshold")
    page.locator("#scores [data-line=review]").focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#summary .verdict")).to_contain_text("REVIEW")
    panel(page, "Mark")
    page.locator("#mark-good").click()
    row = page.locator("#batch .row.selected")
    expect(row.locator(".mark")).to_contain_text("marked good")
    expect(page.locator("#marks tr").nth(1)).to_have_text("good01")
    choose(page, "5 scratch.jpg")
    page.locator("#mark-kind textarea, #mark-kind input").fill("scratch <b>")
    page.locator("#paint .paint").click()
    for left_over in ("Escape", None):  # discarded, and painted once more
        drag(page, (0.2, 0.6), (0.2, 0.8))
        drag(page, (0.7, 0.2), (0.8, 0.2))
        page.locator("#paint .undo").click()
        expect(page.locator("#viewer .drawing .painted")).to_have_count(1)
        if left_over:
            page.keyboard.press(left_over)
            expect(page.locator("#viewer .drawing .painted")).to_have_count(0)
    page.locator("#mark-defect").click()
    expect(row.locator(".mark")).to_contain_text("marked as a defect: scratch <b>, painted")
    expect(page.locator("#viewer .drawing .painted")).to_have_count(0)
    expect(page.locator("#viewer [data-name=photo] .said").last).to_have_attribute("d", re.compile("^M"))
    mask, = (np.asarray(Image.open(file)) for file in models_dir.rglob("masks/*.png"))
    assert mask[int(0.7 * len(mask)), int(0.2 * len(mask[0]))] and not mask[:, len(mask[0]) // 2:].any()
    page.locator("#paint .paint").click()
    page.locator("#mark-fit").click()
    expect(page.locator("#marks tr").nth(1)).to_have_text("good10")
    expect(page.locator("#marks tr").nth(2)).to_have_text("defects01")
    keep(page, "3-inspect-marked")
    page.reload()  # the next day
    expect(page.locator("#batch .mark")).to_have_count(2)
    panel(page, "Mark")
    for left in (1, 0):
        page.locator("#mark-undo").click()
        expect(page.locator("#batch .mark")).to_have_count(left)
    assert not list(models_dir.rglob("masks/*.png"))


def test_filters_leave_what_they_say_and_show_no_photo_that_they_hide(page):
    choose(page, "5 scratch.jpg")
    for place, value in (("of-verdict", "pass"), ("of-branch", "neither")):
        page.locator(f"#{place} input").click()
        page.locator(f"#{place}").get_by_role("option", name=value, exact=True).click()
        expect(page.locator("#batch .row")).to_have_count(1)
        expect(page.locator("#batch .row")).to_have_class("row selected")
        expect(page.locator("#summary .verdict")).to_contain_text("0 good.jpg")  # not a photo that is hidden
    for place in ("of-verdict", "of-branch"):
        page.locator(f"#{place} input").click()
        page.locator(f"#{place}").get_by_role("option", name="all", exact=True).click()
    expect(page.locator("#batch .row b")).to_have_count(8)


def test_an_erased_part_raises_the_global_score_more_than_the_local_one(page):
    choose(page, "0 good.jpg")
    before = multiples(page)
    draw(page, "erase", (0.07, 0.53), (0.3, 0.9))
    expect(page.locator("#summary .verdict")).to_contain_text("0 good · erase", timeout=30_000)
    after = multiples(page)
    assert after["global"] - before["global"] > after["local"] - before["local"] > 0
    keep(page, "4-inspect-probe")


def test_the_other_probes_add_photos_too(page):
    choose(page, "0 good.jpg")
    for tool, points, then in (("scratch", [(0.2, 0.2), (0.5, 0.45), (0.8, 0.7)], None),
                               ("duplicate", [(0.4, 0.55), (0.55, 0.75)], (0.85, 0.2)),
                               ("move", [(0.4, 0.55), (0.55, 0.75)], (0.2, 0.2)),
                               ("swap", [(0.07, 0.53), (0.3, 0.9)], (0.83, 0.72))):
        choose(page, "0 good.jpg")
        draw(page, tool, *points, then=then)
        expect(page.locator("#summary .verdict")).to_contain_text(f"0 good · {tool}", timeout=30_000)
        expect(page.locator("#summary .verdict")).to_contain_text("FAIL")
    expect(page.locator("#batch .row")).to_have_count(13)
    choose_tool(page, "look")


def test_ignored_places_no_longer_count_until_they_do_again(page):
    choose(page, "5 scratch.jpg")
    before = multiples(page)
    draw(page, "ignore", (0.02, 0.03), (0.98, 0.03))
    page.locator("#probe .brush input").fill("0.2")
    for y in (0.2, 0.4, 0.6, 0.8):
        draw(page, "ignore", (0.02, y), (0.75, y))
    page.locator("#probe .apply").click()
    expect(page.locator("#summary .score small").first).not_to_contain_text(f"{before['combined']:.1f} ×")
    keep(page, "5-inspect-ignored")
    page.locator("#probe .nothing").click()
    expect(page.locator("#summary .score small").first).to_contain_text(f"{before['combined']:.1f} ×")
    choose_tool(page, "look")


def test_the_report_opens_without_a_network_and_holds_the_images(page, tmp_path):
    expect(page.locator("#summary .score").first).to_be_visible(timeout=60_000)  # the first ones are scored
    panel(page, "Save")
    page.locator("#take-report").click()
    with page.expect_download() as download:
        page.locator("#taken a").first.click(timeout=60_000)
    download.value.save_as(tmp_path / "report.html")
    context = page.context.browser.new_context(offline=True)
    report = context.new_page()
    report.goto((tmp_path / "report.html").as_uri())
    widths = report.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(widths) == 4 * page.locator("#batch .row").count() >= 32 and set(widths) == {360}
    expect(report.locator("body")).to_contain_text("demo tray")
    if folder := os.environ.get("ULSAD_SCREENSHOTS"):
        report.screenshot(path=Path(folder) / "6-report.png")
    context.close()


def test_a_figure_of_chosen_photos_downloads_for_print(page, tmp_path):
    choose(page, "5 scratch.jpg")
    panel(page, "Save")
    page.locator("#paper-figure > button").click()
    chosen = page.locator("#figure-photos .token")
    expect(chosen).to_have_count(4)
    expect(chosen.first).to_contain_text("5 scratch.jpg")
    for name in chosen.all_inner_texts()[1:]:
        chosen.filter(has_text=name.strip()).locator(".token-remove").click()
    expect(chosen).to_have_count(1)
    page.locator("#figure-photos input").click()
    page.locator("#figure-photos").get_by_role("option", name="3 swapped.jpg").click()
    expect(chosen).to_have_count(2)
    choose(page, "0 good.jpg")
    panel(page, "Mark")
    panel(page, "Save")  # what was chosen stays
    expect(chosen).to_have_count(2)
    page.locator("#figure-captions textarea, #figure-captions input").fill("(a) scratch; (b) swapped")
    page.get_by_label("outlines at the thresholds").check()
    page.get_by_label("SVG").check()
    page.locator("#make-paper-figure").click()
    expect(page.locator("#taken")).to_contain_text("figure", timeout=60_000)
    keep(page, "6-inspect-figure")
    files = []
    for i in range(3):
        with page.expect_download() as download:
            page.locator("#taken a").nth(i).click()
        files.append(tmp_path / download.value.suggested_filename)
        download.value.save_as(files[-1])
    assert [file.suffix for file in files] == [".pdf", ".png", ".svg"]
    assert files[0].read_bytes().startswith(b"%PDF")
    with Image.open(files[1]) as figure:
        assert figure.width == 2100 and figure.info["dpi"][0] == pytest.approx(300, abs=0.1)
    text = files[2].read_text(encoding="utf-8")
    assert text.index("(a) scratch") < text.index("(b) swapped") < text.index("α\xa0=\xa00.9")
    assert text.count("<image ") == 2 * 4 + 1  # photo and maps, and the bar
    page.locator("#paper-figure > button").click()


def test_a_view_downloads_as_png_at_the_photos_size(page, tmp_path):
    choose(page, "3 swapped.jpg")
    with page.expect_download() as download:
        page.locator("#viewer [data-name=combined] .save").click()
    assert download.value.suggested_filename == "3 swapped combined.png"
    download.value.save_as(tmp_path / "view.png")
    view, photo = (np.asarray(Image.open(file).convert("RGB")).astype(int)
                   for file in (tmp_path / "view.png", ASSETS / "demo/3 swapped.jpg"))
    assert view.shape == photo.shape == (480, 640, 3)
    assert 10 < np.abs(view - photo).mean() < 100  # the heat lies over it


def test_raw_maps_download_as_arrays(page, tmp_path):
    page.locator("#take-maps").click()
    expect(page.locator("#taken")).to_contain_text("swapped local", timeout=30_000)
    with page.expect_download() as download:
        page.locator("#taken a").first.click()
    download.value.save_as(tmp_path / "local.npy")
    map_ = np.load(tmp_path / "local.npy")
    assert map_.shape == (480, 640) and map_.dtype == np.float32 and map_.min() >= 0


def test_the_model_is_taken_away(page, tmp_path):
    page.get_by_text("Use the model without this page").click()
    page.locator("#take-file").click()
    expect(page.locator("#taken")).to_contain_text(".safetensors", timeout=30_000)
    with page.expect_download() as download:
        page.locator("#taken a").first.click()
    assert download.value.suggested_filename == "demo tray.safetensors"
    download.value.save_as(tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == DEMO_MODEL.read_bytes()


def test_a_zip_with_a_broken_photo_is_scored_but_for_that_one(page, demo_set, tmp_path):
    shutil.copytree(demo_set / "test", tmp_path / "photos")
    (tmp_path / "photos/good/broken.png").write_text("not a photo")
    archive = shutil.make_archive(str(tmp_path / "parts"), "zip", tmp_path / "photos")
    count = len(find_images(demo_set / "test"))
    open_photos(page, [Path(archive)])
    expect(page.locator("#batch .shown")).to_have_text(f"{count} photos", timeout=120_000)
    expect(page.locator("#batch-progress")).to_contain_text("good/broken.png: not a PNG")
    page.locator("#take-table").click()
    expect(page.locator("#taken")).to_contain_text("scores", timeout=30_000)
    with page.expect_download() as download:
        page.locator("#taken a").first.click()
    download.value.save_as(tmp_path / "scores.csv")
    with page.expect_download() as download:
        page.locator("#taken a").nth(1).click()
    download.value.save_as(tmp_path / "judged-by.jsonl")
    assert main(["verify", str(tmp_path / "scores.csv"), "--photos", str(tmp_path / "photos"),
                 "--model", str(DEMO_MODEL), "--all"]) == 0
    assert main(["predict", str(DEMO_MODEL), str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 0
    here, there = (
        {row["path"]: row for row in csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines())}
        for file in (tmp_path / "scores.csv", tmp_path / "out/scores.csv"))
    assert here.keys() == there.keys() and len(here) == count
    for path, row in here.items():
        for name in ("score", "local_score", "global_score"):
            assert float(row[name]) == pytest.approx(float(there[path][name]), abs=1e-5)
        assert row["verdict"] == there[path]["verdict"] and row["fired"] == there[path]["fired"]


def test_a_dropped_folder_is_scored_under_its_own_names_and_a_second_drop_adds(page, demo_set, tmp_path):
    page.reload()
    expect(page.locator("#batch .row b")).to_have_count(8)
    photos = shutil.copytree(demo_set / "test/structural_anomalies", tmp_path / "line 2/ä früh")
    (photos / "notes.txt").write_text("no photo")
    drop_on(page, "inspect-open", tmp_path / "line 2")
    expect(page.locator("#batch .shown")).to_have_text("3 photos")
    names = [f"line 2/ä früh/{path.name}" for path in find_images(photos)]
    assert sorted(rows(page)) == names
    expect(page.locator("#inspect-open .left-out")).to_have_text(
        "1 file was left out (not photos): line 2/ä früh/notes.txt")
    nudge(page, "beta", "ArrowLeft", 4)  # what was set stays when photos are added
    drop_on(page, "inspect-open", *find_images(demo_set / "test/good")[:2])
    expect(page.locator("#batch .shown")).to_have_text("5 photos")
    expect(page.locator("#beta input[type=number]")).to_have_value("0.993")
    give_folder(page, "inspect-open", demo_set / "test/good")
    expect(said(page, "inspect-open")).to_have_text("8 photos in 2 folders")
    expect(page.locator("#batch .shown")).to_have_text("8 photos")
    keep(page, "6-inspect-folder")
    page.locator("#inspect-open summary").click()
    page.get_by_label(f"Remove {names[0]}").click()
    expect(page.locator("#batch .shown")).to_have_text("7 photos")
    assert names[0] not in rows(page)
    page.locator("#inspect-open .empty").click()
    expect(page.locator("#batch .row b")).to_have_count(8)
    expect(page.locator("#inspect-open .content")).to_be_hidden()


def test_an_upload_can_be_stopped_and_leaves_nothing(page, tmp_path):
    for i in range(300):
        Image.effect_noise((64, 64), 80).save(tmp_path / f"{i:03}.png")
    session = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 20, "downloadThroughput": -1, "uploadThroughput": 100_000}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", slow)
    give_folder(page, "inspect-open", tmp_path)
    expect(page.locator("#inspect-open .sending span")).to_have_text("Uploading 100 of 300")
    page.locator("#inspect-open .stop").click()
    expect(page.locator("#inspect-open .problem")).to_have_text("Stopped: no photos were added.")
    session.send("Network.emulateNetworkConditions", slow | {"latency": 0, "uploadThroughput": -1})
    session.detach()
    expect(page.locator("#inspect-open .content")).to_be_hidden()
    assert page.locator("#batch .row").count() == 8


def test_the_page_shows_the_demo_photos_before_the_first_answer(page, address):
    context = page.context.browser.new_context()
    early = context.new_page()
    held = []
    early.route("**/queue/join*", lambda route: held.append(route))
    early.goto(address)
    expect(early.locator("#summary")).to_contain_text("are being scored")
    expect(early.locator("#batch .row")).to_have_count(8)
    shown = early.locator("#viewer [data-name=photo] .photo, #batch .row img").first
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    early.locator("#batch .row").nth(3).click()  # nothing to choose yet, and no error
    early.locator("#viewer [data-name=combined] .stage").hover()
    keep(early, "0-before-the-first-answer")
    expect(early.locator(".toast-body")).to_have_count(0)
    for route in held:
        route.continue_()
    early.unroute("**/queue/join*")
    expect(early.locator("#batch .row b")).to_have_count(8)
    context.close()


def test_stop_keeps_what_is_scored_and_the_old_photos_stay_until_then(page, tmp_path):
    page.reload()
    expect(page.locator("#batch .row b")).to_have_count(8)
    (tmp_path / "photos").mkdir()
    for i in range(150):
        shutil.copy(ASSETS / "demo/0 good.jpg", tmp_path / f"photos/{i:03}.jpg")
    open_photos(page, [Path(shutil.make_archive(str(tmp_path / "many"), "zip", tmp_path / "photos"))])
    some = re.compile(r"Scoring [1-9]\d*/150")
    expect(page.locator("#batch-progress")).to_contain_text(some, timeout=30_000)
    choose(page, "3 swapped.jpg")
    page.get_by_role("button", name="Stop and keep scores").click()
    expect(page.locator("#batch-progress")).to_contain_text("photos were not scored", timeout=30_000)
    expect(page.locator("#batch .row")).not_to_have_count(8)
    assert 8 < page.locator("#batch .row").count() < 150
    page.reload()
    expect(page.locator("#batch .row b")).to_have_count(8)


def save_criterion(page: Page, name: str) -> None:
    panel(page, "Save")
    page.locator("#criterion-name textarea, #criterion-name input").first.fill(name)
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"'{name}' is saved with the model.").first).to_be_visible(timeout=30_000)


def test_criteria_are_saved_with_a_copy_of_the_demo_model(page, models_dir):
    beta = page.locator("#beta input[type=number]")
    nudge(page, "beta", "ArrowLeft", 4)
    save_criterion(page, "final inspection")
    expect(page.locator("#part input")).to_have_value("demo tray, own criteria")
    page.wait_for_timeout(1500)
    expect(beta).to_have_value("0.993")  # saving changes nothing
    draw(page, "ignore", (0.02, 0.5), (0.98, 0.5))
    before = heat(page, "combined")
    page.locator("#probe .apply").click()
    expect(page.locator("#viewer [data-name=combined] .heat")).not_to_have_attribute("src", before)
    nudge(page, "beta", "ArrowLeft", 4)
    save_criterion(page, "without the middle")
    saved = Ulsad.load(models_dir / "demo tray, own criteria.safetensors").criteria
    assert list(saved) == ["final inspection", "without the middle"]
    assert [one.beta for one in saved.values()] == pytest.approx([0.993, 0.991])
    assert saved["final inspection"].ignored == "" and saved["without the middle"].ignored
    for name, value in (("final inspection", "0.993"), ("without the middle", "0.991")):
        page.locator("#criteria input").click()
        page.locator("#criteria").get_by_role("option", name=name).click()
        expect(beta).to_have_value(value)
    panel(page, "Probe")
    page.locator("#probe .nothing").click()
    choose_tool(page, "look")


def test_a_damaged_model_says_so_and_the_one_in_use_stays(page, models_dir):
    damaged = models_dir / "damaged.safetensors"
    damaged.write_bytes(DEMO_MODEL.read_bytes()[:100_000])
    page.reload()
    expect(page.locator("#batch .row b")).to_have_count(8)
    page.locator("#part input").click()
    page.locator("#part").get_by_role("option", name="damaged").click()
    expect(page.get_by_text("damaged.safetensors: not a model file, or truncated").first).to_be_visible()
    expect(page.locator("#part input")).to_have_value("demo tray, own criteria")
    damaged.unlink()


def test_two_visitors_never_see_each_others_photos(page, demo_set, address):
    other = page.context.browser.new_context().new_page()
    other.set_default_timeout(60_000)
    other.goto(address)
    expect(other.locator("#batch .row b")).to_have_count(8)
    mine = set(rows(page))
    photos = find_images(demo_set / "test/good")[:2]
    open_photos(other, photos)
    expect(other.locator("#batch .row")).to_have_count(2, timeout=60_000)
    choose(page, next(iter(mine)))
    assert set(rows(page)) == mine
    choose(other, photos[0].name)
    assert set(rows(other)) == {photo.name for photo in photos}
    other.context.close()


def test_an_unreadable_photo_says_what_is_wrong(page, tmp_path):
    page.get_by_role("tab", name="Inspect").click()
    (tmp_path / "text.png").write_text("not a photo")
    open_photos(page, [tmp_path / "text.png"])
    expect(page.get_by_text("text.png: not a PNG, JPEG").first).to_be_visible()
    keep(page, "9-inspect-unreadable")


def test_the_browser_met_no_error(page):
    assert page.problems == []
