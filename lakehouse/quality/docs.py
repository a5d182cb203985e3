"""Great Expectations' data docs as a static site below the state folder: a page a table and run, and one index.

How a page looks is `docs_page.py`, the index is `docs_index.py`, how files come and go is `docs_store.py`; what was
judged is `judged.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from lakehouse.quality.docs_results import merged, validation
from lakehouse.quality.docs_store import FRAMES, PAGES, add_pages
from lakehouse.quality.judged import Judged
from lakehouse.services.pages import pages_folder
from lakehouse.settings import Settings
from lakehouse.tables import TableName

FOLDER = "quality"
"""The site below `services.pages.pages_folder`."""
INDEX = f"{FOLDER}/index.html"


def write_docs(settings: Settings, judged: Sequence[Judged], *, run_id: str) -> Mapping[TableName, str]:
    """Add a page for each table judged, and bring the index up to date; answers the pages, relative to `pages_folder`.

    Meant to be called once a run: what it found of one snapshot in several steps is one page. The last
    `settings.quality.history` pages of each table stay. Raises StateError when the folder cannot be written to.
    """
    if not judged:
        return {}
    from lakehouse.quality.docs_page import PageRenderer  # noqa: PLC0415  (imports Great Expectations)

    renderer, now = PageRenderer(FRAMES), datetime.now(UTC)
    made = []
    for one in merged(judged):
        figures = validation(one, run_id=run_id, at=now, folder=PAGES)
        made.append((figures, renderer.render(figures, one.result)))
    add_pages(pages_folder(settings) / FOLDER, made, keep=settings.quality.history)
    return {figures.table: f"{FOLDER}/{figures.page}" for figures, _ in made}
