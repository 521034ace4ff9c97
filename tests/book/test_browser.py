"""The built book in a real browser, wide and narrow, light and dark."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAGES = (
    "notebooks/welcome.html",
    "notebooks/scoreboard.html",
    "notebooks/spurious_memorization.html",
    "notebooks/benign_memorization.html",
    "notebooks/feature_contamination.html",
    "notebooks/pitfalls_of_memorization.html",
    "notebooks/benchmarks.html",
    "book/ideas/spurious_features.html",
    "book/ideas/benign_memorization.html",
    "book/ideas/feature_contamination.html",
    "book/ideas/pitfalls_of_memorization.html",
    "book/read_and_rerun.html",
    "book/notation.html",
    "book/glossary.html",
    "book/api/index.html",
    "book/api/measures.html",
    "book/bibliography.html",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """The system's Chromium; without one these tests are skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")
    given = os.environ.get("CHROMIUM")
    binary = given or next((path for name in NAMES if (path := shutil.which(name))), None)
    if binary is None:
        pytest.skip(
            "no Chromium on this machine: install it (Debian: apt-get install chromium) or set CHROMIUM"
        )
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=binary, args=SWITCHES)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def address(browser: object, book_html: Path) -> Iterator[str]:
    """Where the book is served on this machine."""
    handler = functools.partial(_Quiet, directory=str(book_html))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def opened(browser, address):
    """Open pages and note what goes wrong; ``opened(path, size, scheme)`` returns the page."""
    contexts = []

    def go(path: str, size: dict[str, int] = WIDE, scheme: str = "light"):
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on(
            "response", lambda r: page.problems.append(f"{r.status} {r.url}") if r.status >= 400 else None
        )
        page.on(
            "request", lambda r: page.problems.append(f"asks {r.url}") if _elsewhere(r.url, address) else None
        )
        page.goto(f"{address}/{path}", wait_until="networkidle")
        return page

    yield go
    for context in contexts:
        context.close()


def _with_pictures(page):
    """The page, once all of its pictures are there: they are loaded when they come into sight."""
    page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
    page.wait_for_function(
        "[...document.querySelectorAll('.figure-card img')].every(i => i.naturalWidth > 0)"
    )
    return page


def _elsewhere(url: str, address: str) -> bool:
    return not url.startswith((address, "data:", "blob:"))


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_without_errors_other_hosts_or_overflow(opened, path, size):
    page = opened(path, size)
    excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert page.problems == []
    assert excess <= 0


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_figures_are_drawn_within_the_page(opened, size):
    page = _with_pictures(opened("notebooks/spurious_memorization.html", size))
    boxes = page.locator(".figure-card img").evaluate_all(
        "images => images.map(i => [i.naturalWidth, i.getBoundingClientRect().right])"
    )
    assert boxes
    assert all(natural > 100 and right <= size["width"] for natural, right in boxes)


def test_a_phone_gets_the_panels_below_each_other(opened):
    shape = "i => i.naturalHeight / i.naturalWidth"
    figure = ".figure-card:has(source) img"
    wide = (
        _with_pictures(opened("notebooks/spurious_memorization.html", WIDE))
        .locator(figure)
        .evaluate_all(f"l => l.map({shape})")
    )
    tall = (
        _with_pictures(opened("notebooks/spurious_memorization.html", PHONE))
        .locator(figure)
        .evaluate_all(f"l => l.map({shape})")
    )
    assert wide
    assert max(tall) > 1.2 * max(wide)


@pytest.mark.parametrize(
    "card_number", [0, 1]
)  # of pictures, which stay light, and of curves, which turn dark
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_under_a_figure_stand_out_in_both_modes(opened, scheme, card_number):
    page = opened("notebooks/spurious_memorization.html", WIDE, scheme)
    shown = page.locator(".figure-card").nth(card_number)
    kind = shown.get_attribute("class")
    title = shown.locator(".figure-title").evaluate("t => getComputedStyle(t).color")
    colors = [shown.evaluate("c => getComputedStyle(c).backgroundColor"), title]
    card, words = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in colors)
    assert abs(card - words) > 500
    assert card > 700 if "figure-pictures" in kind or scheme == "light" else card < 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_follows_the_mode_of_the_page(opened, scheme):
    page = opened("notebooks/scoreboard.html", WIDE, scheme)
    caption = page.locator(".data-table caption").first.evaluate("c => getComputedStyle(c).color")
    around = page.locator(".cell_output .text_html").first.evaluate(
        "c => getComputedStyle(c).backgroundColor"
    )
    brightness = sum(map(int, re.findall(r"\d+", caption)[:3]))
    assert around == "rgba(0, 0, 0, 0)"
    assert brightness > 500 if scheme == "dark" else brightness < 250


def test_formulas_are_set(opened):
    page = opened("book/ideas/spurious_features.html")
    assert page.locator("mjx-container").count() > 50
    assert page.locator("mjx-merror, mjx-mtext[style*='red']").count() == 0  # errors and unknown commands


def test_a_wide_formula_can_be_scrolled_with_the_keyboard_on_a_phone(opened):
    page = opened("book/ideas/spurious_features.html", PHONE)
    page.wait_for_selector("mjx-container[tabindex='0'], div.math[tabindex='0']")
    unreachable = page.evaluate(
        "[...document.querySelectorAll('mjx-container[display=true], div.math')]"
        ".filter(b => b.scrollWidth > b.clientWidth + 1 && b.tabIndex !== 0).length"
    )
    assert unreachable == 0


def test_the_menu_opens_on_a_phone(opened):
    page = opened("notebooks/welcome.html", PHONE)
    link = page.locator("nav.bd-links a", has_text="Scoreboard")
    assert not link.is_visible()
    page.locator("button.primary-toggle:visible").first.click()
    link.wait_for(state="visible")
    link.click()
    page.wait_for_url("**/notebooks/scoreboard.html")


@pytest.mark.parametrize(
    ("words", "first"),
    [("stability", "stability"), ("worst-group", "worst-group-accuracy"), ("k-NN", "k-NN")],
)
def test_the_search_finds_the_meaning_of_a_word_first(opened, words, first):
    page = opened(f"search.html?q={words}")
    page.wait_for_selector("#search-results li")
    assert page.locator("#search-results li a").first.get_attribute("href").endswith(f"#term-{first}")


def test_the_theme_switch_makes_the_page_dark(opened):
    page = opened("notebooks/welcome.html")
    for _ in range(3):
        if page.evaluate("document.documentElement.dataset.theme") == "dark":
            break
        page.locator("button.theme-switch-button:visible").first.click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 18)"


def test_the_checks_of_a_claim_unfold(opened):
    page = opened("notebooks/spurious_memorization.html")
    checks = page.locator("details.checks").first
    assert not checks.locator("li").first.is_visible()
    checks.locator("summary").click()
    assert checks.locator("li").first.is_visible()


def _scoreboard(opened, query: str = "", size: dict[str, int] = WIDE):
    """The scoreboard, when its script has run."""
    page = opened(f"notebooks/scoreboard.html{query}", size)
    page.locator("form.filters").wait_for()
    return page


def _claims(page) -> set[str]:
    """The claims whose rows are seen."""
    seen = "rows => rows.filter(r => r.checkVisibility()).map(r => r.dataset.claim)"
    return set(page.locator("tr[data-claim]").evaluate_all(seen))


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_claims_can_be_chosen_from_with_the_keyboard(opened, size):
    page = _scoreboard(opened, size=size)
    every = _claims(page)
    assert page.locator(".shown").inner_text() == f"{len(every)} of {len(every)} claims shown"
    page.locator("select[name=paper]").focus()
    page.keyboard.press("ArrowDown")
    of_one = _claims(page)
    papers = page.locator("tr[data-claim]:visible").evaluate_all("rows => rows.map(r => r.dataset.paper)")
    assert len(set(papers)) == 1
    assert of_one < every
    for _ in range(4):
        page.keyboard.press("Tab")
    claim = min(of_one)
    page.keyboard.type(claim.lower())
    assert _claims(page) == {claim}
    page.keyboard.press("Control+a")
    page.keyboard.type("no such words")
    assert page.locator(".shown").inner_text().startswith("No claim matches")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('.shown').textContent.startsWith('{len(every)} of')")
    assert page.locator("input[name=words]").input_value() == ""


def test_each_claim_is_shown_once_and_at_every_scale_on_request(opened):
    page = _scoreboard(opened)
    rows = page.locator("tr[data-claim]:visible")
    assert rows.count() == len(_claims(page))
    page.locator("select[name=profile]").select_option("")
    assert rows.count() == page.locator("tr[data-claim]").count() > len(_claims(page))


def test_a_choice_of_claims_has_an_address(opened):
    page = _scoreboard(opened, "?verdict=yes&profile=book")
    chosen = _claims(page)
    kinds = "rows => rows.map(r => r.dataset.verdict + ' ' + r.dataset.profile.split(' ')[0])"
    assert set(page.locator("tr[data-claim]:visible").evaluate_all(kinds)) == {"yes book"}
    claim = min(chosen)
    page.locator("input[name=words]").fill(claim)
    assert page.url.endswith(f"?verdict=yes&profile=book&words={claim}")
    page.reload()
    page.locator("form.filters").wait_for()
    assert _claims(page) == {claim} < chosen
    page.locator("input[name=words]").fill("Bombari")
    assert {one[:2] for one in _claims(page)} == {"SM"}


def test_without_scripts_every_verdict_is_there(browser, address):
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/notebooks/scoreboard.html")
    assert not page.locator("form.filters").is_visible()
    assert page.locator("tr[data-claim]:visible").count() == page.locator("tr[data-claim]").count() > 0
    context.close()


def test_a_claim_leads_to_where_it_was_judged(opened):
    page = _scoreboard(opened)
    link = page.locator("tr[data-claim]:visible th a").first
    claim = link.inner_text()
    link.click()
    page.wait_for_url(f"**/notebooks/*.html#claim-{claim}")
    assert page.locator(f"#claim-{claim} th").inner_text().startswith(claim)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_effect_is_seen_on_either_background(opened, scheme):
    page = opened("notebooks/scoreboard.html", WIDE, scheme)
    colors = page.locator("svg.effect:visible .interval").first.evaluate(
        "bar => [getComputedStyle(bar).stroke, getComputedStyle(document.body).backgroundColor]"
    )
    bar, around = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in colors)
    assert abs(bar - around) > 400


EXPLORED = [
    "spurious_memorization",
    "benign_memorization",
    "feature_contamination",
    "pitfalls_of_memorization",
]


@pytest.mark.parametrize("name", EXPLORED)
def test_an_exploration_is_moved_with_the_keyboard(opened, name):
    page = opened(f"notebooks/{name}.html")
    card = page.locator(".exploration").first
    slider = card.locator("input[type=range]").first
    slider.focus()

    def state():
        return card.locator(".explored").inner_text(), card.locator("[data-part='line']").evaluate_all(
            "lines => lines.map(line => line.getAttribute('points')).join()"
        )

    before = state()
    page.keyboard.press("ArrowLeft" if int(slider.input_value()) else "ArrowRight")
    after = state()
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert slider.get_attribute("aria-valuetext") == card.locator("output").first.inner_text()
