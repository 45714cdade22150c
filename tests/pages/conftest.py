"""A headless Chromium, and the operator's stack that it looks at.

Playwright is imported where it is used: `make test` reads this file too, and needs neither it nor a browser.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployments.stack.layout import ROOT
from tests.deployments.conftest import dataset, operator

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["dataset", "operator"]

PICTURES = ROOT / ".cache" / "pages"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 120_000


def find_browser() -> str:
    """The path of a Chromium: what CHROMIUM names, else the first that is installed."""
    wanted = os.environ.get("CHROMIUM")
    for name in (wanted,) if wanted else NAMES:
        if found := shutil.which(name):
            return found
    tried = wanted or ", ".join(NAMES)
    pytest.fail(
        f"There is no Chromium ({tried}). Install one (Debian: apt-get install chromium), or set CHROMIUM to it."
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        # As root, as in most containers, Chromium refuses to run with its sandbox.
        sandbox = os.geteuid() != 0
        chromium = driver.chromium.launch(executable_path=find_browser(), chromium_sandbox=sandbox)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


def picture(page: Page, name: str, folder: Path = PICTURES) -> Path:
    """Takes a screenshot of the whole page, whose contents scroll in a box of their own, and returns where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    width = page.viewport_size["width"] if page.viewport_size else 1280
    height = page.evaluate("Math.max(...[...document.querySelectorAll('*')].map(part => part.scrollHeight))")
    page.set_viewport_size({"width": width, "height": min(int(height) + 40, 12_000)})
    path = folder / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    return path
