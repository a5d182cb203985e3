"""Whatever the data: the contract that is proposed reads back as it was meant, and refuses no row of that data."""

from __future__ import annotations

import csv
import io
import json
import string
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.contracts import read_tables
from lakehouse.ingest.door import Door
from lakehouse.scaffold.proposal import Proposal
from lakehouse.scaffold.survey import Request, survey
from lakehouse.scaffold.write import contract_text, staging_text
from lakehouse.settings import Settings
from lakehouse.sources import open_source
from lakehouse.tables import Table

# Names as files have them: spaces, quotes, capitals, words of SQL and YAML.
NAMES = st.one_of(
    st.sampled_from(
        ["order", "select", "No", "null", "unit price", "Größe", 'a "quoted" one', "it's", "x: y", "#", "1"]
    ),
    st.text(string.ascii_letters + string.digits + " -.:'#{}[]", min_size=1, max_size=12),
).filter(lambda name: name.strip() == name and not name.startswith("_"))
TEXT = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\u2028\u2029\x85\ufeff"),
    min_size=1,
    max_size=12,
)
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-1000, 1000, places=2).map(str),
)
WORDS = st.sampled_from(
    [
        "NA",
        "true",
        "FALSE",
        "007",
        "2026-01-31",
        "2026-02-30",
        "2026-01-31T10:00:00Z",
        "2026-01-31 10:00:00",
        "1e5",
        "-0",
        "a",
    ]
)
COLUMN = st.sampled_from([TEXT, NUMBERS, WORDS, st.one_of(TEXT, NUMBERS), st.one_of(WORDS, NUMBERS)])


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str | None]]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower))
    kinds = [draw(COLUMN) for _ in names]
    rows = draw(st.lists(st.tuples(*(st.none() | kind for kind in kinds)), min_size=2, max_size=40))
    # A line of nothing but empty fields is no record in a file of one column.
    return names, [list(row) for row in rows if any(row)]


def proposal_of(project: Settings, file: Path) -> tuple[Proposal, Settings] | None:
    found = survey(project, Request(str(file), "sales"))
    with_source = project.model_copy(update={"sources": {found.connection.name: found.connection.source}})
    return (found.proposals[0], with_source) if found.proposals else None


def read_back(project: Settings, proposal: Proposal) -> Table:
    file = project.defs[0] / "sales" / "bronze" / f"{proposal.name.table}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(contract_text(proposal, "team:sales"), encoding="utf-8")
    return read_tables(project.defs)[proposal.name]


def refused(settings: Settings, table: Table) -> list[object]:
    extract = open_source(settings, table).read(None)
    assert extract is not None
    with Door(table) as door:
        parts = [door.split(chunk, datetime(2026, 1, 1, tzinfo=UTC), "key").rejected for chunk in extract.chunks]
    return [record for part in parts for record in part.to_pylist()]


def agree(project: Settings, file: Path) -> None:
    found = proposal_of(project, file)
    if found is None:
        return
    proposal, with_source = found
    table = read_back(project, proposal)
    assert table.columns == proposal.columns
    assert table.primary_key == proposal.primary_key
    assert table.load == proposal.load
    assert table.description == proposal.description
    assert refused(with_source, table) == []
    assert all(column.name in staging_text(proposal).replace('""', '"') for column in table.columns)


def as_csv(folder: Path, names: list[str], rows: list[list[str | None]]) -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, *rows])
    file = folder / "any.csv"
    file.write_text(text.getvalue(), encoding="utf-8")
    return file


def as_json_lines(folder: Path, names: list[str], rows: list[list[str | None]]) -> Path:
    records = [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]
    file = folder / "any.jsonl"
    file.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return file


@pytest.mark.parametrize("write", [as_csv, as_json_lines])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=tables())
def test_of_any_file(
    project: Settings, tmp_path: Path, write: Callable[..., Path], data: tuple[list[str], list[list[str | None]]]
) -> None:
    agree(project, write(tmp_path, *data))


@pytest.mark.services
@pytest.mark.parametrize("write", [as_csv, as_json_lines])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=tables())
def test_of_any_of_many_files(
    project: Settings, tmp_path: Path, write: Callable[..., Path], data: tuple[list[str], list[list[str | None]]]
) -> None:
    """The same at length, where minutes may be spent."""
    agree(project, write(tmp_path, *data))
