"""`lakehouse reject list|show|replay|discard`: rows that their contract turned away, and what becomes of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from lakehouse.cli.output import AsJson, err, out, show_facts, show_json, show_rows
from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Table

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.iceberg import Lake
    from lakehouse.orchestration.rejects import RejectRun

app = typer.Typer(help="Rows that wait in quarantine.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="TABLE", help="A bronze table, e.g. bronze.payments.")]
Rule = Annotated[str | None, typer.Option(help="Only records that broke this rule.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
_FINDINGS, _ERROR = 1, 2
"""Exit codes."""
_LETTERS = 12
"""Of an id: enough to name a record."""


@app.command("list")
def list_rejects(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only of this table.")] = None,
    *,
    state: Annotated[
        str | None, typer.Option(help="Only in this state: open, held, loaded, replayed, discarded.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count rejected records by table, rule and state; one that broke several rules is counted for each of them."""
    _, declarations, lake = _opened()
    tables = [one for one in declarations.values() if one.load] if name is None else [_table(declarations, name)]
    rows = _counted(lake, tables, state=_state(state))
    if not rows and not as_json:
        out.print("No records.", style="dim")
        return
    show_rows(rows, as_json=as_json)


@app.command()
def show(  # noqa: PLR0913  (each is an option of the command)
    name: Name,
    record: Annotated[str, typer.Argument(metavar="[ID]", help="The beginning of a record's id.")] = "",
    *,
    rule: Rule = None,
    state: Annotated[str | None, typer.Option(help="Only in this state; default: open and held.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many records.")] = 20,
    unmask: Annotated[bool, typer.Option("--unmask", help="Show values of personal columns too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print records as they came, with the rules that they broke; values of personal columns are masked."""
    from lakehouse.ingest.masked import masked
    from lakehouse.ingest.quarantine import WAITING

    settings, declarations, lake = _opened()
    table, wanted = _table(declarations, name), _state(state)
    chosen = [
        one if unmask else masked(settings, table, one)
        for one in _records(lake, table, None, state=wanted)
        if one["reject_id"].startswith(record)
        and (rule is None or rule in json.loads(one["broken_rules"]))
        and (record or wanted or one["state"] in WAITING)
    ]
    chosen.sort(key=lambda one: (one["extracted_at"], one["source"]))
    if as_json:
        show_json(chosen[:limit])
        return
    if not chosen:
        out.print("No records.", style="dim")
    for one in chosen[:limit]:
        show_facts(_facts(one, whole=len(chosen) == 1))
        out.print()
    if len(chosen) > limit:
        out.print(f"and {len(chosen) - limit:,} more: --limit shows them", style="dim")


@app.command()
def replay(name: Name, *, rule: Rule = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Try open records again, under the contract as it is now, in a run of the project's Dagster instance.

    Those that pass enter bronze once. Exit code 1 when others stay, 2 for an error.
    """
    from lakehouse.ingest import ReplayResult

    done = _run("replay", {"table": name, "rule": rule, "dry_run": dry_run})
    found = done.outcome
    if isinstance(found, ReplayResult):
        facts = {
            "table": name,
            "tried": found.tried,
            "would_enter" if dry_run else "held" if found.held else "entered": found.entered,
            "already_in_bronze": found.there,
            "still_broken": found.still_broken,
            "by_rule": dict(sorted(found.broken.items())),
        }
        if as_json:
            show_json({**facts, "run": done.url})
        else:
            by_rule = ", ".join(f"{broken} {count:,}" for broken, count in sorted(found.broken.items()))
            told = {**facts, "by_rule": by_rule}.items()
            show_facts((key.replace("_", " "), value) for key, value in told if value != "")
            if not found.tried:
                _say_what_is_there(name, rule)
    _end(done, as_json=as_json, findings=isinstance(found, ReplayResult) and found.still_broken > 0)


@app.command()
def discard(  # noqa: PLR0913  (each is an option of the command)
    name: Name,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Beginnings of records' ids.")] = None,
    *,
    why: Annotated[str, typer.Option(help="Why nobody needs them.")],
    rule: Annotated[str | None, typer.Option(help="In place of ids: all open records that broke this rule.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Close open records for good, in a run of the project's Dagster instance: they stay, and are never replayed."""
    if bool(ids) == bool(rule):
        raise SettingsError("it is not said which records", expected="ids, or --rule", remedy="Give one of them.")
    done = _run("discard", {"table": name, "ids": ids or [], "rule": rule, "why": why, "dry_run": dry_run})
    if as_json:
        show_json({"table": name, "would_be_discarded" if dry_run else "discarded": done.outcome, "run": done.url})
    elif done.outcome is not None:
        out.print(f"{name}: {done.outcome:,} records {'would be ' if dry_run else ''}discarded.", highlight=False)
    _end(done, as_json=as_json, findings=False)


def _run(job: str, config: Mapping[str, Any]) -> RejectRun:
    from lakehouse.contracts import read_tables
    from lakehouse.orchestration.rejects import run_rejects

    settings = load_settings()
    said = {key: value for key, value in config.items() if value is not None}
    return run_rejects(settings, read_tables(settings.defs), job, said)


def _end(done: RejectRun, *, as_json: bool, findings: bool) -> None:
    for failure in done.failures:
        err.print(Text.assemble(("error ", "bold red"), failure.reason))
    if not as_json:
        err.print(f"In the UI (`lakehouse ui`): {done.url}", style="dim")
    if any(not failure.finding for failure in done.failures):
        raise typer.Exit(_ERROR)
    if done.failures or findings:
        raise typer.Exit(_FINDINGS)


def _say_what_is_there(name: str, rule: str | None) -> None:
    """Why there was nothing to try: a rule that no record broke, or records that are done with."""
    _, declarations, lake = _opened()
    err.print(f"No open record of {name}{f' broke {rule!r}' if rule else ''}; only open ones are replayed.")
    if there := _counted(lake, [_table(declarations, name)]):
        show_rows(there, as_json=False)


def _opened() -> tuple[Settings, Declarations, Lake]:
    from lakehouse.contracts import read_tables
    from lakehouse.iceberg import Lake

    settings = load_settings()
    return settings, read_tables(settings.defs), Lake.open(settings)


def _table(declarations: Declarations, name: str) -> Table:
    from lakehouse.orchestration.rejects import bronze_table

    return bronze_table(declarations, name)


def _state(text: str | None) -> str | None:
    from lakehouse.ingest import State

    if text is not None and text not in set(State):
        raise SettingsError(
            f"there is no state {text!r}", expected=f"one of {', '.join(State)}", remedy="Mend --state."
        )
    return text


def _records(lake: Lake, table: Table, columns: tuple[str, ...] | None, *, state: str | None) -> list[dict[str, Any]]:
    from lakehouse.ingest import quarantine_table

    name = quarantine_table(table).name
    if not lake.exists(name):
        return []
    where = None if state is None else f"state = '{state}'"
    return list(lake.table(name).scan(columns=columns, where=where).read_all().to_pylist())


def _counted(lake: Lake, tables: Iterable[Table], *, state: str | None = None) -> list[dict[str, Any]]:
    """How many records there are by table, rule and state, and since when."""
    counts, oldest = Counter[tuple[str, str, str]](), dict[tuple[str, str, str], datetime]()
    for table in tables:
        for one in _records(lake, table, ("broken_rules", "state", "extracted_at"), state=state):
            for rule in json.loads(one["broken_rules"]):
                key = (str(table.name), rule, one["state"])
                counts[key] += 1
                oldest[key] = min(one["extracted_at"], oldest.get(key, one["extracted_at"]))
    return [
        {"table": key[0], "rule": key[1], "state": key[2], "records": count, "oldest": oldest[key]}
        for key, count in sorted(counts.items())
    ]


def _facts(record: Mapping[str, Any], *, whole: bool) -> list[tuple[str, object]]:
    from lakehouse.sources.reader import MAX_PAYLOAD

    size, why = record.get("payload_bytes") or 0, record.get("why")
    cut = f" (the first {MAX_PAYLOAD:,} of {size:,} bytes)" if size > MAX_PAYLOAD else ""
    facts = [
        ("id", record["reject_id"] if whole else record["reject_id"][:_LETTERS]),
        ("state", f"{record['state']}: {why}" if why else record["state"]),
        ("source", record["source"]),
        ("rules", ", ".join(json.loads(record["broken_rules"]))),
        ("error", record["error"]),
        ("found", record["found"]),
        ("payload", f"{record['payload']}{cut}"),
        ("extracted", record["extracted_at"]),
    ]
    if whole:
        facts += [("parsed", record.get("parsed")), ("by run", record.get("state_by"))]
    return [(key, value) for key, value in facts if value is not None]
