"""What the tests in a browser share: a page, and hands to work it with.

Set ULSAD_SCREENSHOTS to a folder to keep pictures of every stage.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from ulsad.speed import latency

CHROMIUM = next(filter(None, map(shutil.which, latency.BROWSERS)), None)

expect.set_options(timeout=60_000)  # a machine may have other things to do

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """The app in a browser of its own; `problems` lists the errors of its scripts."""
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


def panel(page: Page, tab: str) -> None:
    """Show a tab of the panel beside the views."""
    page.locator("#panel").get_by_role("tab", name=tab, exact=True).click()


def choose_tool(page: Page, tool: str) -> None:
    """What the mouse does on the photo."""
    panel(page, "Probe")
    page.locator(f"#probe input[value={tool}]").check()


def picture(page: Page, place: str) -> str:
    """The address of the picture shown in a component; it changes with its content."""
    image = page.locator(f"#{place} img").first
    image.wait_for(state="attached")
    return image.get_attribute("src")


def nudge(page: Page, slider: str, key: str, times: int) -> None:
    handle = page.locator(f"#{slider} input[type=range]")
    handle.focus()
    for _ in range(times):
        handle.press(key)


def drop(page: Page, slot: str, files: list[Path]) -> None:
    page.locator(f"#{slot} input.files").set_input_files([str(file) for file in files])


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


def heat(page: Page, name: str) -> str:
    return page.locator(f"#viewer [data-name={name}] .heat").get_attribute("src")


def open_photos(page: Page, files: list[Path]) -> None:
    """In place of what is in the slot."""
    if page.locator("#inspect-open .empty").is_visible():
        page.locator("#inspect-open .empty").click()
        expect(page.locator("#batch .row b")).to_have_count(8)
    drop(page, "inspect-open", files)
