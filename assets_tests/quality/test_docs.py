"""Data docs: a page that says what was found and asks no network, an index, a history that stays bounded."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from lakehouse.contracts import Declarations
from lakehouse.errors import StateError
from lakehouse.iceberg import Lake
from lakehouse.quality.docs import INDEX, write_docs
from lakehouse.quality.docs_history import read_history
from lakehouse.quality.gate import Gate
from lakehouse.quality.judged import Judged
from lakehouse.services.pages import pages_folder
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Bound, Column, Comparison, Rule, RuleKind, Severity, Table, TableName, TableRule
from lakehouse.tables import TableRuleKind as Kind

if TYPE_CHECKING:
    from assets_tests.forks import Fork

ROOT = Path(__file__).parents[2]
ORDERS, PRODUCTS = TableName.parse("silver.orders"), TableName.parse("gold.products")
EVIL = "<script>alert(1)</script>"
MISTYPED = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "id", "lowest": 1}}


def table(name: TableName) -> Table:
    return Table(
        name=name,
        domain="shop",
        description="",
        file=Path("contract.yaml"),
        columns=(Column("id", "long"), Column("status", "string"), Column("email", "string", personal=True)),
        rules=(
            Rule("id_not_null", "id is not null", column="id", kind=RuleKind.NOT_NULL, description=f"Numbered {EVIL}"),
            Rule("status_known", "status in ('a', 'b')", column="status", description="Status is a or b"),
            Rule("short", "length(status) < 3", severity=Severity.WARNING),
            Rule("numeric", "email::int > 0"),
        ),
        table_rules=(
            TableRule("id_unique", Kind.UNIQUE, ("id",)),
            TableRule("some", Kind.ROW_COUNT, arguments={"bound": Bound(Comparison.GREATER, (0,))}),
            *([TableRule("mistyped", Kind.EXPECTATION, ("id",), MISTYPED)] if name == ORDERS else []),
        ),
    )


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    state = tmp_path_factory.mktemp("state")
    return load_settings(ROOT, state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})


@pytest.fixture(scope="module")
def judged(state: Settings) -> Sequence[Judged]:
    """silver.orders breaks what it can, gold.products nothing."""
    lake = Lake.open(state)
    tables = {name: table(name) for name in (ORDERS, PRODUCTS)}
    rows = {ORDERS: [(1, "a", "ann@x"), (1, EVIL, "bob@y"), (None, "b", None)], PRODUCTS: [(1, "a", "1")]}
    gate = Gate(state, lake, Declarations(tables.values()))
    for name, declared in tables.items():
        stored = lake.create(declared)
        values = [dict(zip(("id", "status", "email"), row, strict=True)) for row in rows[name]]
        stored.append(pa.Table.from_pylist(values, schema=stored.schema()), run_key="test")
        gate.audit(name)
    return gate.judged


@pytest.fixture
def site(settings: Settings) -> Path:
    return pages_folder(settings) / "quality"


@pytest.fixture
def page(settings: Settings, judged: Sequence[Judged]) -> str:
    return (pages_folder(settings) / write_docs(settings, judged, run_id="run-1")[ORDERS]).read_text()


def shown(page: str) -> str:
    """What a reader sees of it, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def links(site: Path) -> list[str]:
    return re.findall(r'href="(validations/[^"]+)"', (site / "index.html").read_text())


def test_a_page_says_what_was_found_of_every_rule(page: str, judged: Sequence[Judged]) -> None:
    text = shown(page)
    for rule in ("id_not_null", "status_known", "short", "numeric", "id_unique", "some", "mistyped"):
        assert text.count(f" {rule} ") == 1, rule
    assert "Rules that hold 1 of 7 Blocking failures 5 Warnings 1" in text
    assert "short warning" in text
    assert "status_known error Status is a or b" in text
    assert f"{judged[0].snapshot_id}" in text
    for said in ("run-1", "main", "expect_column_mean_to_be_between(column='id', lowest=1)", "length(status) < 3"):
        assert said in text, said


def test_what_stands_in_rows_is_shown_as_it_is_and_never_run(page: str) -> None:
    assert EVIL in shown(page.replace("&lt;", "&amp;lt;")).replace("&lt;", "<")
    assert EVIL not in page
    assert "script-src" not in page
    assert "default-src 'self'" in page


def test_a_page_shows_no_personal_value(page: str) -> None:
    assert "•••" in page
    assert not re.search(r"ann@x|bob@y", page)


def test_nothing_is_asked_of_the_network(page: str, site: Path) -> None:
    for text in (page, *(file.read_text() for file in site.glob("*.*"))):
        assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", text)
    for linked in ("style.css", "page.js", "index.html"):
        assert f'"../../{linked}"' in page
        assert (site / linked).exists()


def test_results_are_not_changed(settings: Settings, judged: Sequence[Judged]) -> None:
    before = [one.result.to_json_dict() for one in judged]
    write_docs(settings, judged, run_id="x")
    assert [one.result.to_json_dict() for one in judged] == before


def test_the_index_leads_to_each_page_and_failures_stand_first(
    settings: Settings, site: Path, judged: Sequence[Judged]
) -> None:
    pages = write_docs(settings, judged[::-1], run_id=f"run-{EVIL}")
    assert INDEX == "quality/index.html"
    assert {f"quality/{link}" for link in links(site)} == set(pages.values())
    index = (site / "index.html").read_text()
    assert EVIL not in index
    text = shown(index)
    assert text.index("silver.orders failed 1 of 7") < text.index("gold.products passed 6 of 6")
    assert EVIL in text


def test_nothing_judged_writes_nothing(settings: Settings, site: Path) -> None:
    assert write_docs(settings, [], run_id="run-1") == {}
    assert not site.exists()


def test_the_history_of_each_table_is_bounded(settings: Settings, site: Path, judged: Sequence[Judged]) -> None:
    few = settings.model_copy(update={"quality": settings.quality.model_copy(update={"history": 3})})
    write_docs(few, judged[1:], run_id="first")
    for number in range(4):
        write_docs(few, judged[:1], run_id=f"run-{number}")
    kept = read_history(site)
    assert [(one.table, one.run_id) for one in kept] == [
        (PRODUCTS, "first"),
        *((ORDERS, f"run-{number}") for number in (1, 2, 3)),
    ]
    pages = {file.relative_to(site).as_posix() for file in site.glob("validations/*/*")}
    assert pages == {one.page for one in kept} == set(links(site))


def test_steps_of_one_run_on_one_snapshot_are_one_page(
    settings: Settings, site: Path, judged: Sequence[Judged]
) -> None:
    orders = judged[0]

    def part(*rules: str) -> Judged:
        result = type(orders.result)(
            success=False,
            results=[one for one in orders.result.results if (one.meta or {})["rule"] in rules],
            suite_name=orders.result.suite_name,
        )
        return replace(orders, result=result)

    older = replace(orders, snapshot_id=1)
    write_docs(settings, [older, part("some", "short"), part("short", "id_unique")], run_id="run-1")
    (one,) = read_history(site)
    assert (one.rules, one.failed, one.warned, one.outcome) == (3, 1, 1, "failed")
    write_docs(settings, [part("some", "short")], run_id="run-2")
    assert read_history(site)[-1].outcome == "warned"


def test_a_folder_that_cannot_be_written_to_is_named(settings: Settings, site: Path, judged: Sequence[Judged]) -> None:
    site.parent.mkdir(parents=True)
    site.write_text("a file")
    with pytest.raises(StateError, match="data docs cannot be written"):
        write_docs(settings, judged, run_id="run-1")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}', '{"format": 1, "validations": [{"table": "x"}]}'])
def test_a_history_that_nobody_can_read_begins_anew(
    settings: Settings, site: Path, judged: Sequence[Judged], content: str
) -> None:
    site.mkdir(parents=True)
    (site / "history.json").write_text(content)
    write_docs(settings, judged[:1], run_id="run-1")
    assert [one.run_id for one in read_history(site)] == ["run-1"]


def test_writers_at_once_lose_nothing_and_readers_see_whole_pages(
    settings: Settings, site: Path, judged: Sequence[Judged]
) -> None:
    write_docs(settings, judged, run_id="first")
    writers = [
        threading.Thread(target=write_docs, args=(settings, judged), kwargs={"run_id": f"run-{number}"})
        for number in range(6)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert all((site / link).read_text().rstrip().endswith("</html>") for link in links(site))
    assert len(read_history(site)) == 14
    assert len(set(links(site))) == 14


WRITING = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from lakehouse.quality.docs_history import Validation
from lakehouse.quality.docs_store import add_pages
from lakehouse.tables import TableName

def write(site, run_id, deadly):
    replace, calls = Path.replace, []
    def replace_or_die(self, target):
        calls.append(target)
        if len(calls) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)
    Path.replace = replace_or_die
    page, now = f"validations/{run_id}.html", datetime.now(UTC)
    made = Validation(TableName.parse("silver.orders"), run_id, now, "main", 1, page, rules=1, failed=0, warned=0)
    add_pages(site, [(made, "<html>page</html>")], keep=2)
    return len(calls)

for run_id, deadly in zip(sys.argv[2::2], sys.argv[3::2]):
    pid = os.fork()
    if pid == 0:
        os._exit(write(Path(sys.argv[1]), run_id, int(deadly)))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    sys.stdin.readline()
"""


def test_a_writer_that_dies_leaves_a_site_that_works(fork: Callable[..., Fork], site: Path) -> None:
    # Each writer is a process of its own; it dies right before it puts the file of this number into its place.
    steps = [("first", 0), ("dead-1", 1), ("alive-1", 0), ("dead-2", 2), ("alive-2", 0), ("dead-3", 3), ("alive-3", 0)]
    writing = fork(WRITING, site, *(word for step in steps for word in step))
    for run_id, deadly in steps:
        files = {"first": "5", "alive": "3"}  # of which two are the style and the script, once
        assert writing.line() == (files[run_id.split("-")[0]] if not deadly else "-9"), writing.stderr
        assert links(site)
        assert all((site / link).exists() for link in links(site))
        if not deadly:
            kept = {one.run_id for one in read_history(site)}
            assert run_id in kept
            assert not any(one.startswith("dead") for one in kept)
            assert {file.name for file in (site / "validations").iterdir()} == {f"{one}.html" for one in kept}
        writing.go()
    assert writing.rest() == []
