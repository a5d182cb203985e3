"""The project's column lineage: asked once a manifest, drawn as pages, handed to metadata and to the CLI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.settings import Settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.transform.lineage import Columns


def project_lineage(settings: Settings, declarations: Declarations) -> dict[TableName, Columns]:
    """Column lineage of every silver and gold table, from the manifest that is there. Raises TransformError without."""
    from lakehouse.transform.folders import manifest_path
    from lakehouse.transform.lineage import column_lineage
    from lakehouse.transform.manifest import Manifest

    file = manifest_path(settings)
    return column_lineage(Manifest.read(file), declarations, memory=file.with_name("lineage.json"))


def draw_pages(settings: Settings, declarations: Declarations) -> None:
    """Write one page a table, for the UI to link to."""
    from lakehouse.services.pages import pages_folder
    from lakehouse.transform.lineage_page import draw_lineage

    lineage = project_lineage(settings, declarations)
    folder = pages_folder(settings) / "lineage"
    folder.mkdir(parents=True, exist_ok=True)
    for name in lineage:
        (folder / f"{name}.html").write_text(draw_lineage(name, lineage), encoding="utf-8")


def lineage_url(settings: Settings, name: TableName) -> str | None:
    """Where the page of a table is served, None while nothing serves it."""
    from lakehouse.services.pages import page_url

    return page_url(settings, f"lineage/{name}.html")
