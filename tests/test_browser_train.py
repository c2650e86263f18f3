"""Train and Evaluate in a real browser: photos are dropped, trainings started, stopped and inspected."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from browser import drop, drop_on, give_folder, keep, needs_chromium, panel, picture, said
from conftest import DEMO_PHOTOS
from PIL import Image, ImageOps
from playwright.sync_api import Page, expect

from ulsad import Ulsad
from ulsad.demo.dataset import write_demo
from ulsad.photos.images import find_images
from ulsad.photos.intake import kept
from ulsad.runs import directory
from ulsad.runs.marks import Marks

pytestmark = [needs_chromium, pytest.mark.slow]


def set_steps(page: Page, steps: int) -> None:
    field = page.locator("#steps textarea, #steps input").first
    if not field.is_visible():
        page.get_by_text("Settings", exact=True).click()
    field.fill(str(steps))


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
    expect(found).to_contain_text("good parts are few")
    expect(page.locator("#cost")).to_contain_text("of memory", timeout=180_000)
    chosen = page.get_by_role("radio", name="quick: about a minute", checked=True)
    colour = "radio => getComputedStyle(radio).backgroundColor"
    unhovered = chosen.evaluate(colour)
    chosen.hover()
    assert chosen.evaluate(colour) == unhovered
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


def test_train_on_what_is_in_the_slots_and_inspect_the_result(page, models_dir):
    set_steps(page, 12)
    page.get_by_label("Name of the part").fill("my parts")
    page.locator("#train").click()
    run, status = page.get_by_label("Run", exact=True), page.locator("#run-status")
    expect(run).to_have_value("my parts, version 1")
    expect(status).to_contain_text("Training", timeout=240_000)
    keep(page, "4-train-running")
    page.reload()
    page.get_by_role("tab", name="Train").click()
    expect(run).to_have_value("my parts, version 1")
    expect(status).to_contain_text("Finished", timeout=240_000)
    expect(page.locator("#outcome")).to_contain_text("AUROC")
    keep(page, "5-train-finished")
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert page.locator("#preview img").evaluate(width) > 900
    with page.expect_download() as download:
        page.locator("#take-card").click()
    assert "my parts" in Path(download.value.path()).read_text(encoding="utf-8")
    with page.expect_download() as download:
        page.locator("#take-model").click()
    written = models_dir / "my parts/version 1/model.safetensors"
    assert Path(download.value.path()).read_bytes() == written.read_bytes()
    expect(page.get_by_text("Cannot move")).to_have_count(0)  # of gradio, for files where it serves nothing
    page.locator("#open-in-inspect").click()
    expect(page.locator("#part input")).to_have_value("my parts")
    expect(page.locator("#batch .row")).to_have_count(12)  # held out, tested, and known defects
    expect(page.locator("#batch .seen")).to_have_text(["one of the model's held-out photos"] * 2)
    keep(page, "6-inspect-own-model")


def test_a_reload_finds_the_run_again_and_stop_leaves_a_model_that_inspect_opens(
        page, good_photos, models_dir):
    """Begun as the app begins one, but with settings that it doesn't offer: as small as trainings get."""
    process = directory.start(models_dir / "stopped", [
        str(good_photos), "--set", "frn_width=32", "autoencoder_width=16", "augmented_photos=0",
        "batch_size=8", "precision=float32", "steps=100000"])
    page.get_by_role("tab", name="Train").click()
    run, status = page.get_by_label("Run", exact=True), page.locator("#run-status")
    run.click()
    page.get_by_role("option", name="stopped", exact=True).click()
    expect(status).to_contain_text("Training", timeout=240_000)
    page.reload()
    page.get_by_role("tab", name="Train").click()
    expect(run).to_have_value("stopped")
    expect(status).to_contain_text(re.compile(r"Training \d+/100000"))
    expect(page.locator("#preview img")).to_be_visible(timeout=180_000)
    before = picture(page, "preview")
    expect(page.locator("#preview img").first).not_to_have_attribute("src", before, timeout=180_000)
    keep(page, "7-train-live")
    page.locator("#stop-run").click()
    expect(status).to_contain_text("Stopped after", timeout=240_000)
    assert process.wait(60) == 0
    expect(page.locator("#outcome")).to_contain_text("2 held-out good photos")
    expect(page.locator("#resume-run")).to_be_enabled()
    page.locator("#open-in-inspect").click()
    expect(page.locator("#part input")).to_have_value("stopped")
    expect(page.locator("#batch .row b")).to_have_count(12)  # its photos are elsewhere: the open ones stay
    keep(page, "8-inspect-stopped")


def test_runs_are_compared_renamed_and_deleted(page, models_dir):
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#runs")).to_contain_text("stopped")
    for place, value in (("run-chosen", "my parts, version 1"), ("run-other", "stopped")):
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
    expect(page.locator("#part input")).to_have_value("old ⚙")  # the header follows
    for toast in page.locator(".toast-close").all():
        toast.click()
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
    expect(page.locator(".toast-body.error")).to_contain_text("Remove the copies")
    assert [file.parent.name for file in models_dir.rglob("events.jsonl")] == ["version 1"]


def test_evaluate_on_labelled_photos_and_open_a_mistake(page, demo_set):
    page.locator("#part input").click()
    page.locator("#part").get_by_role("option", name="my parts").click()
    page.get_by_role("tab", name="Evaluate").click()
    good, defects = (find_images(demo_set / "test" / folder) for folder in ("good", "logical_anomalies"))
    mistake = find_images(demo_set / "train/good")[0]  # no defect, so it is not found
    for slot, photos in (("test-good", good), ("test-defects", [*defects, mistake])):
        drop(page, slot, photos)
        expect(page.locator(f"#{slot} .said")).to_have_text(f"{len(photos)} photos")
    page.locator("#evaluate").click()
    expect(page.locator("#confusion")).to_contain_text("held-out good photos", timeout=240_000)
    expect(page.locator("#evaluation-status")).to_contain_text("photos scored by 'my parts, version 1'")
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
    expect(page.locator("#part input")).to_have_value("my parts")
    expect(page.locator("#evaluate-stop")).to_be_disabled()
    page.locator("#evaluate-demo").click()
    expect(page.locator("#evaluate-stop")).to_be_enabled()
    expect(page.locator("#evaluation-status")).to_contain_text("scored by 'demo tray'", timeout=240_000)
    expect(page.locator("#evaluate-stop")).to_be_disabled()
    expect(page.locator("#part input")).to_have_value("my parts")


def test_evaluate_without_defects_says_what_is_missing(page):
    page.get_by_role("tab", name="Evaluate").click()
    page.locator("#test-defects .empty").click()
    expect(page.locator("#test-defects .content")).to_be_hidden()
    page.locator("#evaluate").click()
    expect(page.locator("#evaluation-status")).to_contain_text("at least one of each")
    keep(page, "b-evaluate-incomplete")


def test_the_browser_met_no_error(page):
    assert page.problems == []


def test_eighteen_photos_promise_for_eighteen_and_a_defect_among_them_is_pointed_out(page, tmp_path):
    write_demo(tmp_path / "tray", seed=8, train=17, validation=2, test_good=2, per_kind=1)
    photos = tmp_path / "photos"
    shutil.copytree(tmp_path / "tray/train/good", photos)
    shutil.copy(find_images(tmp_path / "tray/test/logical_anomalies")[0], photos / "missing.png")
    page.reload()
    page.get_by_role("tab", name="Train").click()
    drop(page, "good-parts", find_images(photos))
    found = page.locator("#found")
    expect(found).to_contain_text("each will be held out once", timeout=180_000)
    set_steps(page, 30)
    page.get_by_label("Name of the part").fill("eighteen")
    page.locator("#train").click()
    status = page.locator("#run-status")
    expect(page.get_by_label("Run", exact=True)).to_have_value("eighteen, version 1")
    expect(page.locator("#stop-run")).to_be_enabled()  # the status is no longer that of the run before
    expect(status).to_contain_text("Finished", timeout=240_000)
    expect(page.locator("#outcome")).to_contain_text("of 18 held-out good photos score above 'review'")
    expect(page.locator("#strangest figcaption").first).to_contain_text("missing.png")
    expect(page.locator("#strangest figcaption").first).to_contain_text("far above all others")
    expect(page.locator("#left-out").get_by_label("missing.png")).to_be_checked()  # chosen already
    keep(page, "7-train-strangest")
    page.locator("#train-again").click()
    expect(page.get_by_label("Run", exact=True)).to_have_value(re.compile(r"eighteen, version 2, without \d"))
    expect(status).to_contain_text(re.compile("Reading|Computing|Training"), timeout=60_000)
    page.locator("#stop-run").click()
    expect(status).to_contain_text("Stopped", timeout=60_000)
    assert not page.problems


def test_a_marked_photo_joins_the_good_ones_of_the_next_training(page, demo_set, models_dir):
    page.reload()
    expect(page.locator("#batch .row b")).not_to_have_count(0)
    page.locator("#part input").click()
    page.locator("#part").get_by_role("option", name="my parts", exact=True).click()
    photo = find_images(demo_set / "test/good")[0]
    drop(page, "inspect-open", [photo])
    expect(page.locator("#batch .shown")).to_have_text("1 photo")
    panel(page, "Mark")
    page.locator("#mark-good").click()
    expect(page.locator("#batch .mark")).to_have_text("✎ marked good")
    page.locator("#mark-again").click()
    expect(page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("Run", exact=True)).to_have_value("my parts, version 2, with 1 marked")
    expect(page.locator("#stop-run")).to_be_enabled()
    page.locator("#stop-run").click()
    expect(page.locator("#run-status")).to_contain_text("Stopped", timeout=240_000)
    before, after = (kept(models_dir / name / directory.PHOTOS) 
                     for name in ("my parts/version 1", "my parts/version 2, with 1 marked"))
    assert len(after.good) == len(before.good) + 1  # under a free name
    assert f"{photo.stem}-2{photo.suffix}" in {path.name for path in after.good}
    assert not page.problems


def test_false_rejects_marked_good_pass_after_another_training_and_one_click_goes_back(
        page, models_dir, tmp_path):
    """Mirrored trays, of which the first version has seen none. The part then goes to another machine."""
    write_demo(tmp_path / "tray", seed=8, train=17, validation=2, test_good=4, per_kind=1)
    mirrored = tmp_path / "mirrored"
    mirrored.mkdir()
    for photo in find_images(tmp_path / "tray/test/good"):
        ImageOps.mirror(Image.open(photo)).save(mirrored / f"{photo.stem}.png")
    page.get_by_role("tab", name="Train").click()
    drop(page, "good-parts", find_images(tmp_path / "tray/train/good"))
    expect(page.locator("#found")).to_contain_text("each will be held out once", timeout=180_000)
    set_steps(page, 12)
    page.get_by_label("Name of the part").fill("trays")
    page.locator("#train").click()
    run, status = page.get_by_label("Run", exact=True), page.locator("#run-status")
    expect(run).to_have_value("trays, version 1")
    expect(page.locator("#stop-run")).to_be_enabled()
    expect(status).to_contain_text("Finished", timeout=240_000)
    page.locator("#open-in-inspect").click()
    expect(page.locator("#part input")).to_have_value("trays")
    expect(page.locator("#batch .row b")).to_have_count(17)  # its good photos, each held out in its turn
    drop(page, "inspect-open", find_images(mirrored))
    expect(page.locator("#batch .shown")).to_have_text("4 photos")
    expect(page.locator("#batch .row .pass")).to_have_count(0)  # all are rejected
    panel(page, "Mark")
    rows = page.locator("#batch .row")
    for number in range(4):
        rows.nth(number).click()
        expect(rows.nth(number)).to_have_class(re.compile("selected"))
        page.locator("#mark-good").click()
        expect(page.locator("#batch .mark")).to_have_count(number + 1)
    keep(page, "c-marked")
    page.locator("#mark-again").click()
    expect(run).to_have_value("trays, version 2, with 4 marked")
    # The status may still be that of the first version.
    expect(page.locator("#beside")).to_contain_text("4 verdicts turn for the better", timeout=240_000)
    expect(page.locator("#beside")).to_contain_text("'version 1' stays in use until you choose this one")
    keep(page, "d-beside")
    page.locator("#use-version").click()
    expect(page.locator("#version input")).to_have_value("version 2, with 4 marked · in use")
    page.get_by_role("tab", name="Inspect").click()
    # Of 21 good photos, one may lie above a threshold for 5 %.
    page.wait_for_function("document.querySelectorAll('#batch .row .pass').length >= 3")
    keep(page, "e-passed")
    page.get_by_role("tab", name="Train").click()
    page.locator("#back-version").click()
    expect(page.locator("#version input")).to_have_value("version 1 · in use")
    page.get_by_role("tab", name="Inspect").click()
    expect(page.locator("#batch .row .pass")).to_have_count(0)
    page.wait_for_timeout(5000)  # the browser keeps the choice once it has nothing else to do
    page.reload()  # as on the next day
    expect(page.locator("#part input")).to_have_value("trays")
    expect(page.locator("#version input")).to_have_value("version 1 · in use")
    expect(page.locator("#batch .row b")).to_have_count(21)  # its 17 good photos, and the marked ones
    expect(page.locator(".toast-body.error")).to_have_count(0)
    assert not page.problems


def test_a_part_is_exported_and_comes_back_with_the_same_scores(page, models_dir, tmp_path):
    page.get_by_role("tab", name="Train").click()
    page.locator("#run-chosen input").click()
    page.locator("#run-chosen").get_by_role("option", name="trays, version 1", exact=True).click()
    page.locator("#part-export").click()
    with page.expect_download() as download:
        page.locator("#part-packed").click()
    archive = tmp_path / download.value.suggested_filename
    download.value.save_as(archive)
    assert archive.name == "trays.zip"
    page.locator("#part-import").locator("xpath=..").locator("input[type=file]").set_input_files(archive)
    expect(page.locator("#runs")).to_contain_text("trays (2)")
    scores = [[one.score for one in Ulsad.load(models_dir / part / "version 1" / directory.MODEL)
               .predict_many(DEMO_PHOTOS)] for part in ("trays", "trays (2)")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert Marks(models_dir / "trays (2)" / directory.MARKS).read() == \
        Marks(models_dir / "trays" / directory.MARKS).read()
    keep(page, "f-imported")
    assert not page.problems
