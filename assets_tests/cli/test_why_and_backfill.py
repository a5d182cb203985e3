"""`lakehouse why` and `lakehouse backfill` over a real project: what is late is named and computed, nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
import structlog

from assets_tests.kiosk import SALES, SOLD, TAKINGS, Kiosk, january, write_kiosk
from lakehouse.cli import main
from lakehouse.cli.output import out
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.under_way import BY_HAND
from lakehouse.tables import TableName

STALE = ("backfill", "gold.takings", "--stale", "--upstream")
EVERY_DAY = dict.fromkeys(range(1, 9), 200)
"""What the kiosk takes on each day at first: two sales of a euro."""


def ended() -> int:
    """The exit code of the command that stands in `sys.argv`."""
    try:
        main()
    except SystemExit as code:
        return int(code.code or 0)
    return 0


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kiosk]:
    """Eight days of January, loaded and built."""
    made = write_kiosk(tmp_path_factory.mktemp("kiosk") / "kiosk")
    made.sell("first", [(number, 1 + number % 8, 100) for number in range(16)])
    made.refund("first", [(1, 900, 5)])
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {
            "PROJECT": made.settings.project,
            "STATE": made.settings.state,
            "CATALOG__URI": made.settings.catalog.uri.get_secret_value(),
            "SOURCES__LANDING__KIND": "files",
            "SOURCES__LANDING__ROOT": "landing",
            "SOURCES__LANDING__SETTLE": "0",
        }.items():
            patched.setenv(f"LAKEHOUSE_{name}", str(value))
        for words in (
            ("run", "bronze.sales", "bronze.refunds"),
            ("backfill", "gold.takings", "--from", "2026-01-01", "--to", "2026-01-08", "--upstream"),
        ):
            patched.setattr(sys, "argv", ["lakehouse", *words])
            assert ended() == 0
        yield made
        # A build starts the server of the pages that it made.
        patched.setattr(sys, "argv", ["lakehouse", "service", "down"])
        assert ended() == 0
    structlog.reset_defaults()


@pytest.fixture
def command(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `lakehouse ...` in the kiosk's project: exit code, output, errors."""
    assert kiosk

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lakehouse", *words])
        capsys.readouterr()
        code = ended()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


Run = Callable[..., tuple[int, str, str]]


def asked(command: Run, *words: str) -> tuple[int, dict[str, Any]]:
    code, said, _ = command(*words, "--json")
    return code, json.loads(said)


def kinds(answer: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    return [(one["table"], one["kind"], one["days"]) for one in answer["reasons"]]


def files(kiosk: Kiosk, name: TableName) -> set[str]:
    return {file.path for file in kiosk.lake.table(name).live_files()}


def heads(kiosk: Kiosk) -> list[int]:
    return [kiosk.lake.table(name).snapshots()[0].id for name in (SOLD, TAKINGS)]


def test_a_table_that_is_up_to_date_says_so_and_who_wrote_it(command: Run, kiosk: Kiosk) -> None:
    assert kiosk.takings() == EVERY_DAY
    code, answer = asked(command, "why", "gold.takings")
    assert (code, answer["up_to_date"], answer["reasons"], answer["next"]) == (0, True, [], None)
    last = answer["last"]
    assert (last["rows"], last["days"], last["newest_day"]) == (8, ["2026-01-01..2026-01-08"], "2026-01-08")
    assert last["snapshot_id"] == heads(kiosk)[1]
    assert last["run_id"]
    code, said, _ = command("why", "bronze.sales")
    assert code == 0
    assert "is up to date" in said
    assert "Nothing is to be done" in said


def test_late_rows_are_followed_from_their_source_to_gold(command: Run, kiosk: Kiosk) -> None:
    """Days 3 and 7 come late: they are named at each step, computed in two runs, and no other day is touched."""
    kiosk.sell("late", [(101, 3, 7), (102, 7, 9)])
    code, answer = asked(command, "why", "gold.takings")
    assert (code, kinds(answer)) == (1, [("bronze.sales", "source", [])])
    assert answer["next"]["command"] == "lakehouse run bronze.sales"

    assert command(*answer["next"]["command"].split()[1:])[0] == 0
    days = ["2026-01-03..2026-01-03", "2026-01-07..2026-01-07"]
    code, answer = asked(command, "why", "gold.takings")
    assert (code, kinds(answer)) == (1, [("silver.sales", "days", days)])
    assert answer["next"]["command"] == f"lakehouse {' '.join(STALE)}"

    before, taken = heads(kiosk), files(kiosk, TAKINGS)
    code, plan = asked(command, *STALE, "--dry-run")
    assert (code, heads(kiosk)) == (0, before)
    assert [(part["table"], {day["day"]: day["why"] for day in part["days"]}) for part in plan["parts"]] == [
        ("silver.sales", dict.fromkeys(["2026-01-03", "2026-01-07"], "bronze.sales changed")),
        ("gold.takings", dict.fromkeys(["2026-01-03", "2026-01-07"], "silver.sales computed anew")),
    ]
    assert [run["days"] for run in plan["runs"]] == days

    code, done = asked(command, *STALE)
    assert (code, len(done["runs"]), done["failures"]) == (0, 2, [])
    assert kiosk.takings() == {**EVERY_DAY, 3: 207, 7: 209}
    assert len(files(kiosk, TAKINGS) & taken) == 6
    assert asked(command, "why", "gold.takings")[0] == 0

    before = heads(kiosk)
    code, said, _ = command(*STALE)
    assert (code, heads(kiosk)) == (0, before)
    assert "Nothing to compute" in said


def test_a_table_without_days_is_built_first_and_names_the_days_then(command: Run, kiosk: Kiosk) -> None:
    kiosk.refund("later", [(2, 5, 50)])
    assert command("run", "bronze.refunds")[0] == 0
    code, answer = asked(command, "why", "gold.takings")
    assert (code, kinds(answer)) == (1, [("silver.refunds", "behind", [])])
    taken = files(kiosk, TAKINGS)

    _, plan = asked(command, *STALE, "--dry-run")
    assert plan["models"] == [{"table": "silver.refunds", "why": "bronze.refunds changed"}]
    assert plan["runs"] == []
    code, done = asked(command, *STALE)
    # Sale 5 is of day 6; the run of silver.refunds said so.
    assert (code, len(done["runs"])) == (0, 2)
    assert kiosk.takings()[6] == 150
    assert len(files(kiosk, TAKINGS) & taken) == 7
    assert asked(command, "why", "gold.takings")[0] == 0


def test_a_bad_day_holds_no_good_one_back_and_is_explained(
    command: Run, kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    kiosk.sell("odd", [(201, 2, 20_000), (202, 5, 11)])
    assert command("run", "bronze.sales")[0] == 0
    code, _, err = command(*STALE)
    assert code == 1, err
    assert (kiosk.takings()[2], kiosk.takings()[5]) == (200, 211)

    code, answer = asked(command, "why", "gold.takings")
    assert code == 1
    found = {one["kind"]: one for one in answer["reasons"] if one["table"] == "gold.takings"}
    assert found.keys() >= {"failed", "check", "branch", "days"}
    assert found["days"]["days"] == ["2026-01-02..2026-01-02"]
    assert found["check"]["what"].startswith("rule modest: 1 of ")
    assert found["failed"]["finding"]
    assert found["branch"]["branch"] == found["check"]["branch"]
    assert answer["next"]["command"] == f"lakehouse quality check gold.takings --branch {found['branch']['branch']}"

    # One screen of a small terminal.
    monkeypatch.setattr(out, "_width", 80)
    code, said, _ = command("why", "gold.takings")
    assert (code, len(said.splitlines()) <= 24) == (1, True), said
    assert [line for line in said.splitlines() if len(line) > 80 and not line.startswith("next")] == []

    # What the source mends is computed when it is loaded.
    kiosk.sell("odd again", [(201, 2, 20)])
    assert command("run", "bronze.sales")[0] == 0
    assert command(*STALE)[0] == 0
    assert kiosk.takings()[2] == 220
    assert asked(command, "why", "gold.takings")[0] == 0


def test_a_range_is_computed_as_it_was_asked_for(command: Run) -> None:
    days = ("--from", "2026-01-02", "--to", "2026-01-04")
    code, plan = asked(command, "backfill", "gold.takings", *days, "--dry-run")
    assert code == 0
    assert [(part["table"], len(part["days"])) for part in plan["parts"]] == [("gold.takings", 3)]
    assert {day["why"] for day in plan["parts"][0]["days"]} == {"asked for"}
    assert plan["runs"] == [{"days": "2026-01-02..2026-01-04", "tables": ["gold.takings"]}]
    code, said, _ = command("backfill", "gold.takings", *days, "--upstream", "--dry-run")
    assert code == 0
    assert [line.split()[:2] for line in said.splitlines()[1:3]] == [
        ["silver.sales", "2026-01-02..2026-01-04"],
        ["gold.takings", "2026-01-02..2026-01-04"],
    ]
    assert "3 days in 1 run." in said
    code, said, _ = command("backfill", "gold.takings", *days, "--stale")
    assert (code, "Nothing to compute" in said) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gold.takings",), "no days are named"),
        (("gold.taking", "--stale"), "Did you mean gold.takings"),
        (("silver.refunds", "--stale"), "lakehouse run silver.refunds"),
        (("bronze.sales", "--stale"), "not built by days"),
        (("gold.takings", "--from", "2025-12-31", "--to", "2026-01-02"), "days from 2026-01-01"),
        (("gold.takings", "--from", "2026-01-01", "--to", "2999-01-01"), "today (UTC)"),
        (("gold.takings", "--from", "2026-01-02", "--to", "2026-01-01"), "lies before"),
    ],
)
def test_days_that_cannot_be_are_refused_and_none_is_left_out(
    command: Run, kiosk: Kiosk, words: tuple[str, ...], said: str
) -> None:
    before = heads(kiosk)
    code, _, err = command("backfill", *words)
    assert (code, heads(kiosk)) == (2, before)
    assert said in " ".join(err.split())


def test_today_may_be_computed_before_it_has_ended(command: Run) -> None:
    today = datetime.now(UTC).date().isoformat()
    code, plan = asked(command, "backfill", "gold.takings", "--from", today, "--dry-run")
    assert (code, [run["days"] for run in plan["runs"]]) == (0, [f"{today}..{today}"])


def test_each_run_of_a_backfill_names_the_tables_of_all_of_them(command: Run, kiosk: Kiosk) -> None:
    """So that nobody asks for the days of the next one before it begins."""
    day = ("--from", "2026-01-04")
    assert command("backfill", "gold.takings", *day, "--upstream")[0] == 0
    with open_instance(kiosk.settings) as instance:
        (run,) = instance.get_runs(limit=1)
    assert run.tags[BY_HAND].split(",") == ["silver.refunds", "silver.sales", "gold.takings"]


def test_why_of_an_unknown_table_is_an_error(command: Run) -> None:
    code, _, err = command("why", "gold.taking")
    assert (code, "Did you mean gold.takings" in err) == (2, True)


def test_what_cannot_be_asked_is_told_and_the_rest_is_answered(command: Run, kiosk: Kiosk) -> None:
    config = kiosk.settings.dagster_home / "dagster.yaml"
    kept = config.read_text()
    landing = kiosk.settings.state / "landing"
    config.write_text("storage: [this is no storage\n")
    landing.rename(landing.with_name("elsewhere"))
    try:
        code, answer = asked(command, "why", "gold.takings")
    finally:
        config.write_text(kept)
        landing.with_name("elsewhere").rename(landing)
    assert code == 1
    assert answer["last"]["rows"] == 8
    holding = [one for one in answer["reasons"] if one["holding"]]
    assert [(one["table"], one["kind"]) for one in holding] == [
        ("bronze.refunds", "source"),
        ("bronze.sales", "source"),
    ]
    assert all("cannot be asked" in one["what"] and one["remedy"] for one in holding)
    (note,) = answer["notes"]
    assert note.startswith("Dagster's runs could not be asked")
    assert asked(command, "why", "gold.takings")[0] == 0


def test_a_loaded_table_waits_for_its_source_only(command: Run, kiosk: Kiosk) -> None:
    kiosk.sell("newest", [(301, 8, 1)])
    code, answer = asked(command, "why", str(SALES))
    assert (code, kinds(answer)) == (1, [("bronze.sales", "source", [])])
    # A table beside it has nothing to do with it.
    assert asked(command, "why", "silver.refunds")[0] == 0
    assert january(8).isoformat() == answer["last"]["newest_day"]


def test_days_are_loaded_again_and_a_load_after_it_doubles_nothing(command: Run, kiosk: Kiosk) -> None:
    # What the tests before have delivered and not loaded.
    command("load", "run", "bronze.sales")
    before = kiosk.lake.table(SALES).stats().rows
    kiosk.sell("2026-02-01", [(301, 3, 100), (302, 3, 100)])
    code, answer = asked(command, "load", "run", "bronze.sales", "--from", "2026-02-01")
    (load,) = answer["loads"]
    assert (code, load["reread"], load["rows_read"], load["rows_published"]) == (0, "2026-02-01..2026-02-01", 2, 2)
    with open_instance(kiosk.settings) as instance:
        (run,) = instance.get_runs(dg.RunsFilter(tags={"lakehouse/reread": "2026-02-01 to 2026-02-01"}))
    assert [url.rpartition("/")[2] for url in answer["runs"]] == [run.run_id] == [load["run_id"]]

    code, said, _ = command("load", "run", "bronze.sales")
    assert (code, kiosk.lake.table(SALES).stats().rows) == (0, before + 2)
    assert "bronze.sales" in said
    code, told = asked(command, "load", "list", "bronze.sales", "--limit", "2")
    seen = [(one["reread"], one["rows_published"], one["rows_seen"], one["difference"]) for one in told]
    assert (code, seen) == (0, [(None, 0, 2, 0), ("2026-02-01..2026-02-01", 2, 0, 0)])
