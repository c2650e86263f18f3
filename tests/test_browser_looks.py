"""How the app looks: on every screen, light and dark, legible, and usable without a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import needs_chromium, opened, panel
from playwright.sync_api import Page, expect

from ulsad.speed import latency

pytestmark = [needs_chromium, pytest.mark.slow]

TABS = ("Inspect", "Train", "Attention", "Learn", "Evaluate")
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8").split("\n", 1)[1]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[Page]:
    with latency.served(tmp_path_factory.mktemp("looks")) as address, opened(address) as page:
        page.address, page.asked = address, []
        page.on("request", lambda request: page.asked.append(request.url))
        yield page


def show(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()
    if tab == "Attention":
        page.locator("#concepts figure").nth(3).wait_for()
    if tab == "Learn":
        page.locator("#learn figure").first.wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(page, theme):
    page.goto(f"{page.address}?__theme={theme}")
    expect(page.locator("#batch .row b")).to_have_count(8)
    for tab in ("Probe", "Reference", "Maps", "Mark", "Days", "Save", "?", "Threshold"):
        panel(page, tab)
        if tab == "Save":
            page.locator("#paper-figure > button").click()
            expect(page.locator("#figure-photos .token")).to_have_count(4)
        assert page.evaluate(CONTRAST) == [], tab
    for tab in TABS[1:]:
        show(page, tab)
        assert page.evaluate(CONTRAST) == [], tab
    show(page, "Learn")
    page.locator("#learn-beside input").nth(2).check()
    expect(page.locator("#learn .side")).to_have_count(2)
    for step in range(9):
        page.locator(f"#learn [data-step='{step}']").click()
        assert page.evaluate(CONTRAST) == [], f"step {step + 1}"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720), (1024, 768), (390, 844)])
def test_no_tab_is_wider_than_its_window(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    for tab in TABS:
        show(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        expect(page.locator("#part input")).to_be_in_viewport()
    show(page, "Learn")
    for step in range(9):
        page.locator(f"#learn [data-step='{step}']").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"step {step + 1}"


def test_keys_alone_lead_from_opening_to_a_saved_criterion(page):
    page.set_viewport_size({"width": 1280, "height": 720})
    page.reload()
    expect(page.locator("#batch .row b")).to_have_count(8)

    def reach(selector: str) -> None:
        for _ in range(60):
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            page.keyboard.press("Tab")
        pytest.fail(f"the tab key does not reach {selector}")

    reach("#batch .rows")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#summary .verdict")).to_contain_text("1 missing.jpg")
    reach("#alpha input[type=range]")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#alpha input[type=number]")).to_have_value("0.899")
    reach("#panel [role=tab]")
    while not page.evaluate("document.activeElement.textContent.trim() === 'Save'"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    reach("#criterion-name textarea, #criterion-name input")
    page.keyboard.type("by keys")
    page.keyboard.press("Enter")
    expect(page.get_by_text("'by keys' is saved with the model.").first).to_be_visible()
    expect(page.locator("#criteria input")).to_have_value("by keys")


def test_the_browser_asked_nobody_else_and_met_no_error(page):
    assert {urlsplit(url).netloc for url in page.asked if not url.startswith(("data:", "blob:"))} == {
        urlsplit(page.address).netloc}
    assert not page.problems
