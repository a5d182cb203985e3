from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from lakehouse.errors import SettingsError, SourceChanged
from lakehouse.ingest import LoadResult
from lakehouse.scaffold.files import find_files
from lakehouse.scaffold.write import Plan
from lakehouse.tables import Table

Propose = Callable[..., Plan]


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_is_proposed_and_every_row_of_it_loads(
    tmp_path: Path,
    propose: Propose,
    declared: Callable[[], dict[str, Table]],
    load_all: Callable[[], dict[str, LoadResult]],
) -> None:
    lines = [
        "id;status;price;email;note",
        *(f"{n};{'open' if n % 2 else 'shut'};{n}.50;a{n}@x.org;" for n in range(1, 41)),
    ]
    file = write(tmp_path, "in/Orders 2026.csv", "\n".join(line.replace(";", ",") for line in lines))
    propose(file).write()
    table = declared()["bronze.orders_2026"]
    assert [(c.name, c.type, c.required, c.personal) for c in table.columns] == [
        ("id", "long", True, False),
        ("status", "string", True, False),
        ("price", "decimal(18, 2)", True, False),
        ("email", "string", True, True),
        ("note", "string", False, False),
    ]
    assert table.primary_key == ("id",)
    assert {rule.name for rule in table.rules} >= {"id_minimum", "price_minimum", "status_not_null"}
    assert any("'open', 'shut'" in rule.predicate for rule in table.rules if rule.column == "status")
    result = load_all()["bronze.orders_2026"]
    assert (result.rows_published, result.rows_quarantined) == (40, 0)


def test_json_lines_and_parquet_load_as_proposed(
    tmp_path: Path,
    propose: Propose,
    declared: Callable[[], dict[str, Table]],
    load_all: Callable[[], dict[str, LoadResult]],
) -> None:
    records = [{"ref": f"r{n}", "at": f"2026-01-0{n}T10:00:00Z", "tags": ["a", n], "n": n * 1.5} for n in range(1, 6)]
    folder = tmp_path / "drop"
    write(folder, "events.jsonl", "\n".join(json.dumps(record) for record in records))
    parquet.write_table(
        pa.table({"k": pa.array([1, 2], pa.int32()), "v": pa.array([[1], None])}), folder / "pairs.parquet"
    )
    write(folder, ".hidden.csv", "a\n1\n")
    write(folder, "notes.txt", "nothing")
    propose(folder).write()
    assert {name: [c.type for c in table.columns] for name, table in declared().items()} == {
        "bronze.events": ["string", "timestamptz", "string", "double"],
        "bronze.pairs": ["int", "string"],
    }
    counts = {name: (r.rows_published, r.rows_quarantined) for name, r in load_all().items()}
    assert counts == {"bronze.events": (5, 0), "bronze.pairs": (2, 0)}


def test_files_that_differ_by_a_date_are_one_table(
    tmp_path: Path, propose: Propose, load_all: Callable[[], dict[str, LoadResult]]
) -> None:
    folder = tmp_path / "drop"
    for day in ("2026-01-01", "2026-01-02"):
        write(folder, f"payments-{day}.csv", f"paid_on,amount\n{day},1\n")
    write(folder, "payments_summary.csv", "month,total\n1,2\n")
    write(folder, "planes.csv", "tail\nN1\n")
    assert dict(find_files(str(folder)).patterns) == {
        "payments": "payments-[0-9]*.csv",
        "payments_summary": "payments_summary.csv",
        "planes": "planes.csv",
    }
    propose(folder).write()
    result = load_all()["bronze.payments"]
    assert (result.rows_published, result.rows_quarantined) == (2, 0)
    write(folder, "payments-2026-01-03.csv", "paid_on,amount\n2026-01-03,5\n")
    assert load_all()["bronze.payments"].rows_published == 1


def test_a_pattern_is_one_table(tmp_path: Path) -> None:
    write(tmp_path, "a/sales-1.csv", "x\n1\n")
    write(tmp_path, "b/sales-2.csv", "x\n2\n")
    found = find_files(f"{tmp_path}/*/sales-*.csv")
    assert (found.root, dict(found.patterns)) == (tmp_path, {"sales": "*/sales-*.csv"})


def test_the_same_name_in_two_formats_is_two_tables(tmp_path: Path) -> None:
    write(tmp_path, "sales.csv", "x\n1\n")
    write(tmp_path, "sales.jsonl", '{"x": 1}\n')
    assert dict(find_files(str(tmp_path)).patterns) == {"sales": "sales.csv", "sales_jsonl": "sales.jsonl"}


def test_gzipped_files_are_read(tmp_path: Path, propose: Propose) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], ["1", "x"], ["2", "y"]])
    (tmp_path / "codes.csv.gz").write_bytes(gzip.compress(text.getvalue().encode()))
    (one,) = propose(tmp_path / "codes.csv.gz").added
    assert (one.name.table, one.rows, one.primary_key) == ("codes", 2, ("a",))


def test_a_word_for_nothing_is_noted(tmp_path: Path, propose: Propose) -> None:
    (one,) = propose(write(tmp_path, "planes.csv", "tail,year\nN1,2004\nN2,NA\n")).added
    assert (
        "year is text, for it says NA where there is nothing; in silver: cast(nullif(year, 'NA') as bigint)"
        in one.notes
    )


def test_records_that_do_not_parse_are_noted(tmp_path: Path, propose: Propose) -> None:
    (one,) = propose(write(tmp_path, "x.jsonl", '{"a": 1}\n{"a": 2}\n{broken\n')).added
    assert one.rows == 2
    assert "1 records cannot be parsed: they go to the quarantine" in one.notes


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.json", '[\n{"a": 1},\n{"a": 2}\n]\n'),
        ("empty.jsonl", ""),
        ("header.csv", "a,a\n1,2\n"),
        ("nothing.csv", ""),
    ],
)
def test_a_file_of_another_form_is_left_out(tmp_path: Path, propose: Propose, name: str, text: str) -> None:
    found = propose(write(tmp_path, name, text))
    assert not found.added
    assert [refusal.label for refusal in found.survey.refusals] == [name]
    assert "CSV with a header" in found.survey.refusals[0].remedy


def test_a_header_alone_says_too_little(tmp_path: Path, propose: Propose) -> None:
    found = propose(write(tmp_path, "later.csv", "a,b\n"))
    assert (found.added, [refusal.reason for refusal in found.survey.refusals]) == ((), ["there are no records in it"])


def test_what_is_not_there_is_named(tmp_path: Path, propose: Propose) -> None:
    with pytest.raises(SourceChanged, match="nothing to read"):
        propose(tmp_path / "absent.csv")
    write(tmp_path, "there.csv", "a\n1\n")
    with pytest.raises(SourceChanged, match="no files for other"):
        propose(tmp_path, tables=("other",))
    with pytest.raises(SettingsError, match="mysql"):
        propose("mysql://host/db")
    with pytest.raises(SettingsError, match="--watermark"):
        propose(tmp_path, watermark="a")


def test_columns_that_begin_with_an_underscore_are_left_out(tmp_path: Path, propose: Propose) -> None:
    (one,) = propose(write(tmp_path, "x.csv", "a,_b\n1,2\n")).added
    assert [column.name for column in one.columns] == ["a"]
    assert any("_b" in note for note in one.notes)


def test_values_that_are_few_among_many_rows_are_a_set(tmp_path: Path, propose: Propose) -> None:
    rows = "".join(f"{n},{'AB'[n % 2]},c{n % 13},{'x' * 50}\n" for n in range(200))
    (one,) = propose(write(tmp_path, "x.csv", f"id,flag,many,long\n{rows}")).added
    rule = {"metric": "invalidValues", "arguments": {"validValues": ["A", "B"]}, "mustBe": 0}
    assert one.limits == {"id": {"logicalTypeOptions": {"minimum": 0}}, "flag": {"quality": [rule]}}
    few = "".join(f"{n},{'AB'[n % 2]}\n" for n in range(19))
    (one,) = propose(write(tmp_path, "y.csv", f"id,flag\n{few}")).added
    assert "flag" not in one.limits
