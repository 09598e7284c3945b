"""Tests that the site builds without a warning, loads nothing from other hosts, and can be searched offline."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.blocks import CHECKOUT, pages

# Attributes through which a browser loads something by itself; an ordinary link (a href) is not one.
LOADING = {"src", "srcset", "data", "poster"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_links_of_the_readme_lead_somewhere() -> None:
    """mkdocs checks those of the pages."""
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", (CHECKOUT / "README.md").read_text())
    assert links
    assert [link for link in links if not (CHECKOUT / link).exists()] == []


class Loaded(HTMLParser):
    """What a page has a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        loads = LOADING | ({"href"} if tag == "link" else set())
        self.urls += [value for name, value in attributes if name in loads and value]


def loaded(html: str) -> list[str]:
    parser = Loaded()
    parser.feed(html)
    return parser.urls


def test_what_a_browser_loads_is_seen() -> None:
    page = '<link href="https://a/x.css"><script src="//b/y.js"></script><a href="https://c/"></a><img src="z.png">'
    assert loaded(page) == ["https://a/x.css", "//b/y.js", "z.png"]


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    files = list(site.rglob("*.html"))
    assert len(files) > len(pages()) - 3
    urls = {url for file in files for url in loaded(file.read_text())}
    assert "assets/stylesheets" in " ".join(urls)
    assert [url for url in sorted(urls) if re.match(r"(?:https?:)?//", url)] == []


def test_no_style_loads_anything_from_elsewhere(site: Path) -> None:
    files = list(site.rglob("*.css"))
    assert files
    assert [
        file.name for file in files if re.search(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", file.read_text())
    ] == []


def test_docstrings_are_shown_without_the_marks_of_their_source(site: Path) -> None:
    text = "".join(file.read_text() for file in (site / "reference").glob("*.html"))
    assert "KlingMultiImageToImageOperator" in text
    assert re.findall(r":(?:class|meth|mod|func|attr|data):|:param ", re.sub(r"(?s)<pre>.*?</pre>", "", text)) == []


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_search_works_without_a_network(served: str) -> None:
    from tests.browser.session import chromium

    if shutil.which("chromium") is None:
        pytest.fail("there is no chromium: run tests/browser/install-chromium.sh")
    elsewhere: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("request", lambda sent: None if sent.url.startswith(served) else elsewhere.append(sent.url))
        page.goto(f"{served}/index.html")
        page.keyboard.press("/")
        page.keyboard.type("parallel slots")
        page.locator(".md-search-result__item a[href*='pools.html']").first.wait_for()
    assert elsewhere == []
