"""The app as a user meets it: a real server, a real browser.

Set ULSAD_SCREENSHOTS to a folder to keep pictures of every stage.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import shared
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from ulsad import Ulsad
from ulsad.photos.images import find_images
from ulsad.speed import latency

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

expect.set_options(timeout=60_000)  # a machine may have other things to do

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory) -> Path:
    """Where gradio would serve nothing from: in a hidden folder behind a link, neither below the working
    directory nor below what the app takes for the system's temporary folder."""
    root = tmp_path_factory.mktemp("models")
    (root / ".local/share/mödels of mine").mkdir(parents=True)
    (root / "link").symlink_to(root / ".local/share/mödels of mine")
    return root / "link"


@pytest.fixture(scope="module")
def address(models_dir, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("temporary")
    with latency.served(models_dir, TMPDIR=str(temporary)) as address:
        yield address
    assert not list(temporary.glob("ulsad-*"))  # visitors' photos are gone with the app


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


def nudge(page: Page, slider: str, key: str, times: int) -> None:
    handle = page.locator(f"#{slider} input[type=range]")
    handle.focus()
    for _ in range(times):
        handle.press(key)


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
    page.locator("#viewer .tool").select_option(tool)
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


def open_photos(page: Page, files: list[Path]) -> None:
    """In place of what is in the slot."""
    if page.locator("#inspect-open .empty").is_visible():
        page.locator("#inspect-open .empty").click()
        expect(page.locator("#batch .row b")).to_have_count(8)
    drop(page, "inspect-open", files)


def test_inspect_opens_with_the_demo_strangest_first(page):
    expect(page.locator("#batch .row b")).to_have_count(8)
    expect(page.locator("#summary .verdict")).to_contain_text("FAIL")
    first = page.locator("#batch .row").first
    expect(first).to_have_class("row selected")
    expect(page.locator("#summary .verdict")).to_contain_text(first.locator(".name").inner_text())
    keep(page, "0-inspect")
    shown = [float(text.split()[-1]) for text in page.locator("#batch .row b").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    reference = page.locator("#viewer .expected .photo")
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
                  for sheet in page.locator("#viewer .sheet").all()]
    assert len(transforms) == 5 and len(set(transforms)) == 1 and "scale(2.7" in transforms[0]
    page.locator("#viewer [data-name=combined] .stage").dblclick()
    assert "scale(1)" in page.locator("#viewer .sheet").first.evaluate("sheet => sheet.style.transform")


def test_alpha_moves_colours_histograms_and_verdicts(page):
    choose(page, "0 good.jpg")
    photo, before, table = heat(page, "photo"), heat(page, "combined"), rows(page)
    marks = page.locator("#pixels .label").all_text_contents()
    nudge(page, "alpha", "Home", 1)
    nudge(page, "beta", "Home", 1)  # must stay above α
    expect(page.locator("#viewer [data-name=combined] .heat")).not_to_have_attribute("src", before)
    expect(page.locator("#summary .flips")).to_contain_text("turn")
    expect(page.locator("#scores .tally b").first).to_have_text("0 pass")  # thresholds stay, scores soar
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
    target = page.locator("#batch .row").first
    point = page.locator(f"#scatter circle[data-index='{target.get_attribute('data-index')}']")
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#batch .row").first).to_have_class("row selected")
    expect(page.locator("#summary .verdict")).to_contain_text(target.locator(".name").inner_text())


def test_filters_leave_what_they_say(page):
    for place, value in (("of-verdict", "pass"), ("of-branch", "neither")):
        page.locator(f"#{place} input").click()
        page.locator(f"#{place}").get_by_role("option", name=value, exact=True).click()
        expect(page.locator("#batch .row")).to_have_count(1)
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
    page.locator("#viewer .tool").select_option("look")


def test_ignored_places_no_longer_count_until_they_do_again(page):
    choose(page, "5 scratch.jpg")
    before = multiples(page)
    draw(page, "ignore", (0.02, 0.03), (0.98, 0.03))
    page.locator("#viewer .brush input").fill("0.2")
    for y in (0.2, 0.4, 0.6, 0.8):
        draw(page, "ignore", (0.02, y), (0.75, y))
    page.locator("#viewer .apply").click()
    expect(page.locator("#summary .score small").first).not_to_contain_text(f"{before['combined']:.1f} ×")
    keep(page, "5-inspect-ignored")
    page.locator("#viewer .nothing").click()
    expect(page.locator("#summary .score small").first).to_contain_text(f"{before['combined']:.1f} ×")
    page.locator("#viewer .tool").select_option("look")


def test_the_report_opens_without_a_network_and_holds_the_images(page, tmp_path):
    open_drawer(page)
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


def test_a_view_downloads_as_png_at_the_photos_size(page, tmp_path):
    choose(page, "3 swapped.jpg")
    with page.expect_download() as download:
        page.locator("#viewer [data-name=combined] .save").click()
    assert download.value.suggested_filename == "3 swapped combined.png"
    download.value.save_as(tmp_path / "view.png")
    view, photo = (np.asarray(Image.open(file).convert("RGB")).astype(int)
                   for file in (tmp_path / "view.png", ROOT / "assets/demo/3 swapped.jpg"))
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
    subprocess.run([sys.executable, "-m", "ulsad", "predict", "assets/demo.safetensors", tmp_path / "photos",
                    "--out", tmp_path / "out"], cwd=ROOT, check=True, capture_output=True)
    here, there = (
        {row["path"]: row for row in csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines())}
        for file in (tmp_path / "scores.csv", tmp_path / "out/scores.csv"))
    assert here.keys() == there.keys() and len(here) == count
    for path, row in here.items():
        for name in ("score", "local_score", "global_score"):
            assert float(row[name]) == pytest.approx(float(there[path][name]), abs=1e-5)
        assert row["verdict"] == there[path]["verdict"] and row["fired"] == there[path]["fired"]


def give_folder(page: Page, slot: str, folder: Path) -> None:
    """As chosen in the dialogue of 'Choose a folder …'."""
    page.locator(f"#{slot} input.folder").set_input_files(str(folder))


def drop_on(page: Page, slot: str, *paths: Path) -> None:
    """With the mouse, out of a file manager."""
    area = page.locator(f"#{slot} .area")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for event in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": event, "x": box["x"] + 20, "y": box["y"] + 8,
                                                 "data": data})
    session.detach()


def said(page: Page, slot: str):
    return page.locator(f"#{slot} .said")


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
    keep(page, "6-inspect-folder")
    page.locator("#inspect-open summary").click()
    page.get_by_label(f"Remove {names[0]}").click()
    expect(page.locator("#batch .shown")).to_have_text("7 photos")
    assert names[0] not in rows(page)
    page.locator("#inspect-open .empty").click()
    expect(page.locator("#batch .row b")).to_have_count(8)
    expect(page.locator("#inspect-open .content")).to_be_hidden()


def test_attention_shows_the_photos_that_are_open_in_inspect(page, demo_set):
    photos = find_images(demo_set / "test/good")
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
        shutil.copy(ROOT / "assets/demo/0 good.jpg", tmp_path / f"photos/{i:03}.jpg")
    open_photos(page, [Path(shutil.make_archive(str(tmp_path / "many"), "zip", tmp_path / "photos"))])
    expect(page.locator("#batch-progress")).to_contain_text("Scoring 16/150", timeout=30_000)
    choose(page, "3 swapped.jpg")
    page.get_by_role("button", name="Stop and keep scores").click()
    expect(page.locator("#batch-progress")).to_contain_text("photos were not scored", timeout=30_000)
    expect(page.locator("#batch .row")).not_to_have_count(8)
    assert 8 < page.locator("#batch .row").count() < 150
    page.reload()
    expect(page.locator("#batch .row b")).to_have_count(8)


def open_drawer(page: Page) -> None:
    if not page.locator("#take-report").is_visible():
        page.get_by_text("Save and export").click()


def save_criterion(page: Page, name: str) -> None:
    open_drawer(page)
    page.locator("#criterion-name textarea, #criterion-name input").first.fill(name)
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"'{name}' is saved with the model.").first).to_be_visible(timeout=30_000)


def test_criteria_are_saved_with_a_copy_of_the_demo_model(page, models_dir):
    beta = page.locator("#beta input[type=number]")
    nudge(page, "beta", "ArrowLeft", 4)
    save_criterion(page, "final inspection")
    expect(page.locator("#model input")).to_have_value("demo tray, own criteria")
    page.wait_for_timeout(1500)
    expect(beta).to_have_value("0.993")  # saving changes nothing
    draw(page, "ignore", (0.02, 0.5), (0.98, 0.5))
    before = heat(page, "combined")
    page.locator("#viewer .apply").click()
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
    page.locator("#viewer .nothing").click()
    page.locator("#viewer .tool").select_option("look")


def test_a_damaged_model_says_so_and_the_one_in_use_stays(page, models_dir):
    damaged = models_dir / "damaged.safetensors"
    damaged.write_bytes((ROOT / "assets/demo.safetensors").read_bytes()[:100_000])
    page.reload()
    expect(page.locator("#batch .row b")).to_have_count(8)
    page.locator("#model input").click()
    page.locator("#model").get_by_role("option", name="damaged").click()
    expect(page.get_by_text("damaged.safetensors: not a model file, or truncated").first).to_be_visible()
    expect(page.locator("#model input")).to_have_value("demo tray")
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


def drop(page: Page, slot: str, files: list[Path]) -> None:
    page.locator(f"#{slot} input.files").set_input_files([str(file) for file in files])


def set_steps(page: Page, steps: int) -> None:
    field = page.locator("#steps textarea, #steps input").first
    if not field.is_visible():
        page.get_by_text("Settings", exact=True).click()
    field.fill(str(steps))


def start(page: Page, name: str) -> None:
    page.get_by_label("Name of the model").fill(name)
    page.locator("#train").click()
    expect(page.get_by_label("Run", exact=True)).to_have_value(name)


def test_train_on_dropped_photos_and_inspect_the_result(page, demo_set, models_dir):
    page.get_by_role("tab", name="Train").click()
    drop(page, "good-parts", find_images(demo_set / "train/good"))
    expect(page.locator("#found")).to_contain_text("good parts are few", timeout=180_000)
    expect(page.locator("#cost")).to_contain_text("of memory", timeout=180_000)
    chosen = page.get_by_role("radio", name="quick: a minute or two", checked=True)
    colour = "radio => getComputedStyle(radio).backgroundColor"
    unhovered = chosen.evaluate(colour)
    chosen.hover()
    assert chosen.evaluate(colour) == unhovered
    set_steps(page, 12)
    keep(page, "3-train-ready")
    start(page, "my parts")
    expect(page.locator("#run-status")).to_contain_text("Training", timeout=240_000)
    keep(page, "4-train-running")
    expect(page.locator("#run-status")).to_contain_text("Finished", timeout=240_000)
    expect(page.locator("#outcome")).to_contain_text("2 held-out good photos")
    keep(page, "5-train-finished")
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert page.locator("#preview img").evaluate(width) > 900
    with page.expect_download() as download:
        page.locator("#take-card").click()
    assert "my parts" in Path(download.value.path()).read_text(encoding="utf-8")
    with page.expect_download() as download:
        page.locator("#take-model").click()
    written = models_dir / "my parts/model.safetensors"
    assert Path(download.value.path()).read_bytes() == written.read_bytes()
    expect(page.get_by_text("Cannot move")).to_have_count(0)  # of gradio, for files where it serves nothing
    page.locator("#open-in-inspect").click()
    expect(page.locator("#model input")).to_have_value("my parts")
    expect(page.locator("#batch .seen")).to_have_text(["one of the model's held-out photos"] * 2)
    keep(page, "6-inspect-own-model")


def test_a_chosen_folder_in_the_layout_of_mvtec_ad_fills_the_slots(page, demo_set, tmp_path):
    bottle = tmp_path / "sets/bottle"
    shutil.copytree(demo_set / "train/good", bottle / "train/good")
    shutil.copytree(demo_set / "test/good", bottle / "test/good")
    shutil.copytree(demo_set / "test/structural_anomalies", bottle / "test/broken_large")
    (bottle / "ground_truth/broken_large").mkdir(parents=True)
    for photo in find_images(bottle / "test/broken_large"):
        Image.new("L", (640, 480), 255).save(bottle / f"ground_truth/broken_large/{photo.stem}_mask.png")
    (bottle / "readme.txt").write_text("no photo")
    page.get_by_role("tab", name="Train").click()
    give_folder(page, "good-parts", bottle)
    found = page.locator("#found")
    expect(found).to_contain_text("Recognised: MVTec AD", timeout=180_000)
    expect(found.locator("tr").nth(1)).to_contain_text(re.compile(r"good parts\s*12\s*640 × 480"))
    expect(found.locator("tr").nth(2)).to_contain_text("3 broken_large, 3 with masks")
    expect(page.locator("#good-parts .left-out")).to_contain_text("bottle/readme.txt")
    keep(page, "6-train-folder")
    page.locator("#good-parts .empty").click()
    expect(found).to_have_text("")
    drop(page, "good-parts", find_images(demo_set / "train/good")[:9])
    expect(found.locator("tr").nth(1)).to_contain_text(re.compile(r"good parts\s*9"), timeout=180_000)
    drop_on(page, "good-parts", demo_set / "train/good")  # three more; the others are there already
    expect(said(page, "good-parts")).to_have_text("21 photos in 1 folder")
    expect(found).to_contain_text("the same picture as another in good parts", timeout=180_000)
    page.locator("#good-parts .empty").click()
    expect(found).to_have_text("")


def test_a_zip_of_a_whole_data_set_fills_the_slots(page, demo_set, tmp_path):
    page.get_by_role("tab", name="Train").click()
    drop(page, "good-parts", [Path(shutil.make_archive(str(tmp_path / "tray"), "zip", demo_set.parent))])
    found = page.locator("#found")
    expect(found).to_contain_text("Recognised: MVTec LOCO", timeout=180_000)
    expect(found.locator("tr").nth(1)).to_contain_text(re.compile(r"good parts\s*12\s*640 × 480"))
    expect(found.locator("tr").nth(2)).to_contain_text(re.compile(r"held-out good parts\s*2"))
    expect(found.locator("tr").nth(3)).to_contain_text("4 logical_anomalies, 3 structural_anomalies")
    expect(page.locator("#cost")).to_contain_text("of memory", timeout=180_000)


def test_a_reload_finds_the_run_again_and_stop_leaves_a_model_that_inspect_opens(page, models_dir):
    set_steps(page, 100_000)
    start(page, "stopped")
    expect(page.locator("#run-status")).to_contain_text("Training", timeout=240_000)
    page.reload()
    page.get_by_role("tab", name="Train").click()
    expect(page.get_by_label("Run", exact=True)).to_have_value("stopped")
    expect(page.locator("#run-status")).to_contain_text(re.compile(r"Training \d+/100000"))
    expect(page.locator("#preview img")).to_be_visible(timeout=180_000)
    before = picture(page, "preview")
    expect(page.locator("#preview img").first).not_to_have_attribute("src", before, timeout=180_000)
    keep(page, "7-train-live")
    page.locator("#stop-run").click()
    expect(page.locator("#run-status")).to_contain_text("Stopped after", timeout=240_000)
    expect(page.locator("#outcome")).to_contain_text("AUROC")
    expect(page.locator("#resume-run")).to_be_enabled()
    page.locator("#open-in-inspect").click()
    expect(page.locator("#model input")).to_have_value("stopped")
    expect(page.locator("#batch .row")).to_have_count(12)  # held out, tested, and known defects
    keep(page, "8-inspect-stopped")


def test_runs_are_compared_renamed_and_deleted(page, models_dir):
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#runs")).to_contain_text("stopped")
    for place, value in (("run-chosen", "my parts"), ("run-other", "stopped")):
        page.locator(f"#{place} input").click()
        page.locator(f"#{place}").get_by_role("option", name=value, exact=True).click()
    expect(page.locator("#compared")).to_contain_text(re.compile(r"steps\s*≠ 12\s*≠ 100000"))
    keep(page, "9-compared")
    page.locator("#run-chosen input").click()
    page.locator("#run-chosen").get_by_role("option", name="stopped", exact=True).click()
    page.locator("#run-name textarea, #run-name input").first.fill("old ⚙")
    page.locator("#run-rename").click()
    expect(page.locator("#runs")).to_contain_text("old ⚙")
    assert (models_dir / "old ⚙" / "model.safetensors").exists() and not (models_dir / "stopped").exists()
    expect(page.locator("#model input")).to_have_value("demo tray")
    page.locator("#run-delete").click()
    page.locator("#run-delete-yes").click()
    expect(page.locator("#runs")).not_to_contain_text("old ⚙")
    assert not (models_dir / "old ⚙").exists()


def test_defects_among_the_good_parts_are_refused(page, demo_set, models_dir):
    photos = find_images(demo_set / "train/good")
    drop(page, "good-parts", photos)
    drop(page, "known-defects", photos[:1])
    expect(page.locator("#found")).to_contain_text("in good parts and in known defects", timeout=180_000)
    page.locator("#train").click()
    page.wait_for_timeout(2000)
    assert [file.parent.name for file in models_dir.glob("*/events.jsonl")] == ["my parts"]


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
    answers(page, "photo").locator(".stage").press("ArrowDown")
    asked(page, 31, 4)
    answers(page, "photo").locator(".stage").press("ArrowDown")
    asked(page, 31, 4)
    for _ in range(6):  # faster than answers come
        page.keyboard.press("ArrowRight")
    asked(page, 31, 10)
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
    good, missing = sorted((ROOT / "assets/demo").glob("[01]*"))
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


def test_evaluate_on_labelled_photos_and_open_a_mistake(page, demo_set):
    page.locator("#model input").click()
    page.locator("#model").get_by_role("option", name="my parts").click()  # a dozen steps: it makes mistakes
    page.get_by_role("tab", name="Evaluate").click()
    for slot, folder in (("test-good", "good"), ("test-defects", "logical_anomalies")):
        photos = find_images(demo_set / "test" / folder)
        drop(page, slot, photos)
        expect(page.locator(f"#{slot} .said")).to_have_text(f"{len(photos)} photos")
    page.locator("#evaluate").click()
    expect(page.locator("#confusion")).to_contain_text("held-out good photos", timeout=240_000)
    expect(page.locator("#evaluation-status")).to_contain_text("photos scored by 'my parts'")
    expect(page.locator("#evaluation-numbers")).to_contain_text("AUROC")
    for plot in ("curves", "kinds", "grid"):
        picture(page, f"evaluation-{plot}")
    keep(page, "a-evaluate")
    mistakes = page.locator("#mistakes .thumbnail-item").count()
    page.locator("#mistakes .thumbnail-item").first.click()
    expect(page.locator("#batch .row")).to_have_count(mistakes)
    expect(page.get_by_role("tab", name="Inspect")).to_have_attribute("aria-selected", "true")


def test_the_demo_of_evaluate_uses_the_demo_model(page):
    page.get_by_role("tab", name="Evaluate").click()
    expect(page.locator("#model input")).to_have_value("my parts")
    expect(page.locator("#evaluate-stop")).to_be_disabled()
    page.locator("#evaluate-demo").click()
    expect(page.locator("#evaluate-stop")).to_be_enabled()
    expect(page.locator("#evaluation-status")).to_contain_text("scored by 'demo tray'", timeout=240_000)
    expect(page.locator("#evaluate-stop")).to_be_disabled()
    expect(page.locator("#model input")).to_have_value("my parts")


def test_evaluate_without_defects_says_what_is_missing(page):
    page.get_by_role("tab", name="Evaluate").click()
    page.locator("#test-defects .empty").click()
    expect(page.locator("#test-defects .content")).to_be_hidden()
    page.locator("#evaluate").click()
    expect(page.locator("#evaluation-status")).to_contain_text("at least one of each")
    keep(page, "b-evaluate-incomplete")


def test_an_unreadable_photo_says_what_is_wrong(page, tmp_path):
    page.get_by_role("tab", name="Inspect").click()
    (tmp_path / "text.png").write_text("not a photo")
    open_photos(page, [tmp_path / "text.png"])
    expect(page.get_by_text("text.png: not a PNG, JPEG").first).to_be_visible()
    keep(page, "9-inspect-unreadable")


def test_the_benchmark_measures_a_redraw_in_a_browser_too():
    command = [sys.executable, "-m", "ulsad", "bench", "latency", "--batch", "8", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    table = done.stdout
    assert table.count("| ms |") == 6 and table.count("| s |") == 1 and "not measured" not in table


def test_the_browser_met_no_error(page):
    assert page.problems == []
