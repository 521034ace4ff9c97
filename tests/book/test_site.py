"""The built book as files: links, pictures, headings, and nothing that comes from elsewhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import BeautifulSoup

# Attributes by which a page loads something while it is read; a link is only followed by a click.
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "video": "src", "link": "href"}
ONLY_NAMED = {"canonical", "search", "author", "license", "index", "next", "prev"}


@pytest.fixture(scope="session")
def pages(book_html: Path) -> dict[Path, BeautifulSoup]:
    """Every page of the book, parsed."""
    found = [path for path in sorted(book_html.rglob("*.html")) if "_static" not in path.parts]
    return {path.resolve(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in found}


@pytest.fixture(scope="session")
def articles(pages: dict[Path, BeautifulSoup]) -> dict[Path, BeautifulSoup]:
    """The pages that people wrote: not search, index and highlighted modules."""
    return {path: page for path, page in pages.items() if path.parent.name in ("book", "ideas", "notebooks")}


def test_no_page_of_the_library_reference_is_slow_to_open(pages):
    sizes = {path.name: len(page.find_all(True)) for path, page in pages.items() if path.parent.name == "api"}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > 3000} == {}


def test_no_page_with_its_pictures_weighs_more_than_two_megabytes(articles):
    """Beside what all pages share; its own are under ``figures``, and a browser loads one for its width."""
    for path, page in articles.items():
        assert "data:image/png;base64" not in str(page), path.name
        drawn: dict[str, int] = {}
        for url in {url for url in _loaded(page) if "figures/" in url}:
            name, size = url.replace("-narrow.png", ".png"), (path.parent / url).stat().st_size
            drawn[name] = max(size, drawn.get(name, 0))
        weight = path.stat().st_size + sum(drawn.values())
        assert weight <= 2_000_000, (path.name, weight)


def _loaded(page: BeautifulSoup) -> list[str]:
    urls = []
    for tag in page.find_all(list(LOADS)):
        if not ONLY_NAMED & set(tag.get("rel") or []):
            urls.append(str(tag.get(LOADS[tag.name]) or ""))
    return [url for url in urls if url and not url.startswith("data:")]


def _is_external(url: str) -> bool:
    return bool(urlsplit(url).netloc)


def _problem(url: str, page: Path, pages: dict[Path, BeautifulSoup]) -> str | None:
    path, fragment = urldefrag(url)
    target = (page.parent / unquote(urlsplit(path).path)).resolve() if path else page
    if not target.exists():
        return f"{page.name}: {url} leads nowhere"
    if fragment and target in pages:
        name = unquote(fragment)
        if not pages[target].find(attrs={"id": name}) and not pages[target].find(attrs={"name": name}):
            return f"{page.name}: {url} names a place that is not on that page"
    return None


def test_each_internal_link_leads_to_an_existing_place(pages):
    problems = []
    for path, page in pages.items():
        urls = {str(a["href"]) for a in page.find_all("a", href=True)} | set(_loaded(page))
        inside = [
            url
            for url in sorted(urls)
            if not _is_external(url) and not url.startswith(("mailto:", "javascript:"))
        ]
        problems += [problem for url in inside if (problem := _problem(url, path, pages))]
    assert problems == []


def test_no_page_loads_anything_from_another_host(pages):
    assert [
        (path.name, url) for path, page in pages.items() for url in _loaded(page) if _is_external(url)
    ] == []


def test_no_style_sheet_loads_anything_from_another_host(book_html):
    sheets = [path for path in book_html.rglob("*.css") if "mathjax" not in path.parts]
    assert sheets
    assert [
        path.name for path in sheets if "url(http" in path.read_text(encoding="utf-8", errors="replace")
    ] == []


def test_each_picture_has_a_description(pages):
    nameless = [
        (path.name, str(img)[:80])
        for path, page in pages.items()
        for img in page.find_all("img")
        if not img.get("alt")
    ]
    assert nameless == []


def test_each_page_has_one_first_heading(articles):
    counts = {path.name: len(page.select("article h1")) for path, page in articles.items()}
    assert {name: count for name, count in counts.items() if count != 1} == {}


def test_each_page_has_a_section_heading(articles):
    # A page without one makes the theme's script fail.
    assert [path.name for path, page in articles.items() if page.select_one("article h2") is None] == []


def test_each_table_header_has_words(articles):
    empty = [
        (path.name, str(th))
        for path, page in articles.items()
        for th in page.find_all("th")
        if not th.text.strip()
    ]
    assert empty == []


def test_no_page_shows_a_path_of_the_machine(articles):
    marks = (str(Path.home()), "site-packages", str(Path(__file__).resolve().parents[2]))
    shown = {path.name: page.find("article").text for path, page in articles.items()}
    assert [(name, mark) for name, text in shown.items() for mark in marks if mark in text] == []


def test_no_page_shows_warnings_or_errors_of_its_run(articles):
    found = {path.name: page.select(".output.stderr, .output.traceback") for path, page in articles.items()}
    assert {name: outputs[0].text[:200] for name, outputs in found.items() if outputs} == {}


def test_each_figure_has_its_data_beside_the_page(articles):
    cards = [(path, card) for path, page in articles.items() for card in page.select("figure.figure-card")]
    assert cards
    for path, card in cards:
        data = path.parent / card.select_one("a[download]")["href"]
        assert data.read_text(encoding="utf-8").count("\n") >= 2, data


def test_the_first_address_leads_to_the_welcome_page(book_html):
    assert "notebooks/welcome.html" in (book_html / "index.html").read_text(encoding="utf-8")


def test_formulas_need_no_network(book_html):
    for part in ("tex-chtml.js", "output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff"):
        assert (book_html / "_static" / "mathjax" / part).is_file()
