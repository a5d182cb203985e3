"""The files of the data docs: pages come and go whole, whoever writes at the same time and whenever a writer dies.

What stands in a page does not belong here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lakehouse.errors import StateError
from lakehouse.quality.docs_history import Validation, history_file, history_text, newest, read_history
from lakehouse.quality.docs_index import draw_index
from lakehouse.services.processes import locked

FRAMES = Path(__file__).with_name("docs_site")
"""Where the frame of a page is, and the files that all pages share."""
PAGES = "validations"
"""The folder of pages below the site."""
_SHARED = ("style.css", "page.js")


def add_pages(site: Path, made: Sequence[tuple[Validation, str]], *, keep: int) -> None:
    """Add pages and draw the index anew; of each table the last `keep` stay. Raises StateError where it cannot write.

    One writer at a time, across processes. Readers see the index and every page as they were before or as they are
    after, and no link in the index leads nowhere.
    """
    try:
        site.mkdir(parents=True, exist_ok=True)
        with locked(site / ".lock"):
            _share(site)
            for validation, page in made:
                _replace(site / validation.page, page)
            kept = newest([*read_history(site), *(validation for validation, _ in made)], keep)
            _replace(site / "index.html", draw_index(kept))
            _replace(history_file(site), history_text(kept))
            _clear(site, kept)
    except OSError as error:
        raise StateError(
            "the data docs cannot be written",
            expected=f"a folder {site} that can be written to",
            found=error.strerror or str(error),
            remedy="Free some room, or set LAKEHOUSE_STATE to another folder.",
        ) from error


def _share(site: Path) -> None:
    """Written once, and again when a later version has others."""
    for name in _SHARED:
        content = (FRAMES / name).read_text(encoding="utf-8")
        if not (site / name).exists() or (site / name).read_text(encoding="utf-8") != content:
            _replace(site / name, content)


def _clear(site: Path, kept: Sequence[Validation]) -> None:
    """Remove what nobody names: pages that are too old, and what a writer that died has left."""
    named = {site / validation.page for validation in kept}
    for file in (site / PAGES).rglob("*"):
        if file.is_file() and file not in named:
            file.unlink()


def _replace(file: Path, content: str) -> None:
    """Whole or not at all: readers do not ask for the lock."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(content, encoding="utf-8")
    fresh.replace(file)
