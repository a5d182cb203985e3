"""Contracts written by a test and read through the public function."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest

from lakehouse.contracts import read_tables
from lakehouse.tables import Table, TableName

Data = Mapping[str, object]


@pytest.fixture(scope="session")
def declare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Table]:
    """Write one contract as JSON, which is YAML, into a folder of its own (or a given one), and read its table.

    The folder is `table.file.parents[2]`. Session-wide, so that property tests may use it.
    """
    base = tmp_path_factory.mktemp("contracts")
    numbers = count()

    def write(  # noqa: PLR0913  (what a contract says, each with a default)
        properties: Sequence[Data],
        *,
        quality: Sequence[Data] = (),
        relationships: Sequence[Data] = (),
        custom: Data | None = None,
        more: Data | None = None,
        name: str = "silver.things",
        folder: Path | None = None,
    ) -> Table:
        layer, table = name.split(".")
        schema = {"name": table, "properties": [*properties], "quality": [*quality], "relationships": [*relationships]}
        contract = {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "id": name,
            "version": "2.1.0",
            "description": {"purpose": "Things"},
            "team": {"members": [{"username": "team@example.com"}]},
            "schema": [schema],
            "customProperties": [{"property": key, "value": value} for key, value in (custom or {}).items()],
        }
        folder = folder or base / f"defs{next(numbers)}"
        path = folder / "shop" / layer / f"{table}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(contract | dict(more or {}), indent=1, ensure_ascii=False), "utf-8")
        return read_tables([folder])[TableName.parse(name)]

    return write
