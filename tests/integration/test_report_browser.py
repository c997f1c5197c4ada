"""The report of a run in a real browser: it sorts, searches, fits a phone, and complains of nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from emrl_ray.io.parquet import read_table
from emrl_ray.reports.screening.page import write_report
from tests.support.run_directory import TOP, two_objectives

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def run(reported_run) -> str:
    """Return a run with its report."""
    return reported_run


@pytest.fixture(scope="module")
def wide(run, tmp_path_factory) -> str:
    """Return a run with the report of two models and of supply risk."""
    folder = tmp_path_factory.mktemp("wide")
    copy = Path(shutil.copytree(run, folder / "run"))
    two_objectives(copy, folder)
    return str(Path(write_report(str(copy))).parent)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A headless browser of this machine; skips without one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is on the PATH")
    # A browser that runs as root, as in a container, has no sandbox.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=options)
        yield found
        found.close()


@pytest.fixture
def page(browser, run, wide) -> Iterator:
    """The report in the browser; fails if it complained or asked for anything but the two pages."""
    complaints: list[str] = []
    asked: list[str] = []
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(Path(run, "report.html").as_uri())
    yield page
    assert complaints == []
    assert asked
    assert set(asked) <= {Path(place, "report.html").as_uri() for place in (run, wide)}
    page.close()


def shown(page, column: str) -> list[str]:
    """Return the texts of a column in the rows that can be seen."""
    return page.locator(f".top tbody tr:visible .{column}").all_inner_texts()


def order(page) -> dict[str, str]:
    """Return the columns by which the table says that it is sorted."""
    heads = page.locator(".top thead th[aria-sort]")
    found = heads.evaluate_all("all => all.map(h => [h.classList[0], h.ariaSort])")
    return {name: direction for name, direction in found if direction != "none"}


def test_a_click_on_a_title_sorts_and_another_turns_round(page):
    assert order(page) == {"rank": "ascending"}
    page.locator(".top th.prediction button").click()
    assert order(page) == {"prediction": "ascending"}
    up = [float(text) for text in shown(page, "prediction")]
    assert up == sorted(up)
    page.locator(".top th.prediction button").click()
    assert order(page) == {"prediction": "descending"}
    down = [float(text) for text in shown(page, "prediction")]
    assert down == sorted(down, reverse=True)
    assert down[0] > up[0]


def test_the_keyboard_sorts(page):
    page.locator(".top th.id button").focus()
    page.keyboard.press("Enter")
    assert order(page) == {"id": "ascending"}
    page.keyboard.press("Space")
    assert order(page) == {"id": "descending"}


def test_rows_without_a_value_are_last_either_way(page):
    page.locator("#length").select_option("all")
    for _ in range(2):
        page.locator(".top th.known button").click()
        known = [text != "-" for text in shown(page, "known")]
        assert any(known)
        assert known == sorted(known, reverse=True)


def test_every_title_sorts(page, run):
    ids = read_table(f"{run}/shortlist.parquet").column("id").to_pylist()
    page.locator("#length").select_option("all")
    for button in page.locator(".top thead button").all():
        button.click()
        assert sorted(shown(page, "id")) == sorted(ids)


def test_a_search_shows_the_rows_with_all_words(page, run):
    rows = read_table(f"{run}/shortlist.parquet")
    wanted = rows.column("id")[7].as_py()
    assert len(shown(page, "id")) == 25
    page.get_by_label("Search").fill(f"{wanted[:4].upper()} {wanted[4:]}")
    assert shown(page, "id") == [wanted]
    assert page.locator("#found").inner_text() == f"1 of {TOP} rows match"
    page.get_by_label("Search").fill("no such crystal")
    assert shown(page, "id") == []
    page.get_by_label("Search").fill("")
    assert page.locator("#found").inner_text() == f"25 of {TOP} rows"


@pytest.mark.parametrize("width", [1300, 800, 400])
@pytest.mark.parametrize("kind", ["run", "wide"])
def test_the_page_never_scrolls_sideways(page, wide, kind, width):
    page.set_viewport_size({"width": width, "height": 800})
    if kind == "wide":
        page.goto(Path(wide, "report.html").as_uri())
    # After a resize the page measures its table in the next frame.
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    page.evaluate("window.scrollTo(500, 0)")
    assert page.evaluate("window.scrollX") == 0


def test_the_titles_stay_in_sight_in_a_wide_table_and_in_a_narrow_one(page, wide):
    for scroll in (
        "window.scrollBy(0, document.querySelector('#top tbody').getBoundingClientRect().top + 900)",
        "(box => { box.scrollIntoView(); box.scrollBy(300, 900); })"
        "(document.querySelector('#top').parentElement)",
    ):
        page.evaluate(scroll)
        page.wait_for_timeout(50)
        top = page.locator(".top thead th.id").bounding_box()["y"]
        assert -1 <= top <= 30
        page.goto(Path(wide, "report.html").as_uri())


def test_no_label_on_a_phone_runs_into_the_next(page, wide):
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(Path(wide, "report.html").as_uri())
    heights = page.evaluate(
        """[...document.querySelectorAll('#top tbody tr:first-child [data-title]')].map(cell => {
          const range = document.createElement('span');
          range.textContent = cell.dataset.title;
          range.style.cssText = 'display:block; font-size:.78rem; line-height:1.25; width:8.6rem';
          document.querySelector('main').append(range);
          const needed = range.offsetHeight;
          range.remove();
          const style = getComputedStyle(cell, '::before');
          return style.content === 'none' || style.float !== 'left'
            ? 0 : needed - cell.offsetHeight;
        })"""
    )
    assert max(heights) <= 0
    for kind in ("interval", "interval2"):
        cell = page.locator(f"#top tbody tr:first-child .{kind}")
        content = cell.evaluate("cell => getComputedStyle(cell, '::after').content")
        assert "scale: " in content


def test_a_phone_sorts_by_a_menu(page):
    page.set_viewport_size({"width": 400, "height": 800})
    page.get_by_label("Sort by").select_option("distance")
    page.get_by_label("descending").check()
    assert order(page) == {"distance": "descending"}
    found = [float(text) for text in shown(page, "distance")]
    assert found == sorted(found, reverse=True)


def test_print_shows_the_table_and_hides_its_tools(page):
    page.emulate_media(media="print")
    assert page.locator(".top").is_visible()
    assert not page.locator(".tools").is_visible()
