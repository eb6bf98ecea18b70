"""Screenshots of what the tests open: `make screenshots`."""

import itertools
import os
from collections.abc import Iterator
from html import escape

from playwright.sync_api import Page

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
# The animation of a progress bar has no end.
FINISH_ANIMATIONS = """() => document.getAnimations()
    .filter(animation => animation.effect.getComputedTiming().endTime < Infinity)
    .forEach(animation => animation.finish())"""


def appearances(page: Page, name: str) -> Iterator[tuple[int, str]]:
    """Show a page in both widths and both colour schemes, and yield each in turn.

    Where `SCREENSHOTS` names a folder, store an image of each there.
    """
    page.evaluate(FINISH_ANIMATIONS)
    for width, scheme in itertools.product(WIDTHS, SCHEMES):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        if "SCREENSHOTS" in os.environ:
            page.screenshot(path=f"{os.environ['SCREENSHOTS']}/{name}-{width}-{scheme}.png")
        yield width, scheme


def save_screenshots(page: Page, name: str) -> None:
    """Store images of a page if `SCREENSHOTS` is set, and restore its size."""
    if "SCREENSHOTS" not in os.environ:
        return
    before = page.viewport_size
    for _ in appearances(page, name):
        pass
    page.emulate_media(color_scheme="light")
    if before:
        page.set_viewport_size(before)


def save_text_screenshots(page: Page, name: str, text: str) -> None:
    """Store images of a text file in a separate tab."""
    tab = page.context.new_page()
    head = (
        f"<!doctype html><meta charset=utf-8><meta name=color-scheme content='light dark'><title>{escape(name)}</title>"
    )
    tab.set_content(f"{head}<pre style='white-space: pre-wrap'>{escape(text)}</pre>")
    save_screenshots(tab, name)
    tab.close()
