"""`lakehouse restore`: a table goes back to what it was. Only a plan is printed unless --yes is given."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import AsJson, out, show_facts, show_json
from lakehouse.errors import SettingsError
from lakehouse.settings import load_settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.iceberg import RestorePlan


def restore(  # noqa: PLR0913  (each is an option of the command)
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A table, e.g. silver.orders.")],
    *,
    before: Annotated[
        str | None, typer.Option(help='What main showed right before a time, in UTC: "03:00", 2026-01-31T03:00.')
    ] = None,
    snapshot: Annotated[str | None, typer.Option(help="A snapshot id, or a tag such as restored/...")] = None,
    before_run: Annotated[str | None, typer.Option(help="The state that a run, by its key, was built on.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done (the default).")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a table back to an earlier state, and the progress of its loads with it.

    What is undone stays for a week under a tag, by which this can be undone in the same way.
    """
    if sum(option is not None for option in (before, snapshot, before_run)) != 1:
        raise SettingsError(
            "a restore needs one target", remedy="Give one of --before TIME, --snapshot ID and --before-run KEY."
        )
    if yes and dry_run:
        raise SettingsError("--yes and --dry-run contradict each other", remedy="Give one of them.")
    from lakehouse.iceberg import Lake, downstream

    lake = Lake.open(load_settings())
    table = lake.table(TableName.parse(name))
    to = moment_before(before, datetime.now(UTC)) if before else _snapshot(snapshot)
    plan = table.plan_restore(to=to, before_run=before_run)
    later = [str(other) for other in downstream(lake, plan)]
    known = table.tags()
    done = yes and table.restore(plan).operation == "restore"
    tags = [tag for tag in table.tags() if tag not in known]
    if as_json:
        show_json({**asdict(plan), "table": str(plan.table), "downstream": later, "restored": done, "tags": tags})
        return
    show_facts(_facts(plan, later))
    _say_end(plan, tags, done=done)


def moment_before(text: str, now: datetime) -> datetime:
    """The last moment before a time of the day (the newest one that is past) or a date and time; UTC if not said.

    Raises SettingsError.
    """
    moment: datetime | None = None
    try:
        clock = time.fromisoformat(text)
        moment = datetime.combine(now.date(), clock, clock.tzinfo or UTC)
        moment -= timedelta(days=1) if moment > now else timedelta()
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise SettingsError(
                f"--before {text!r} is not a time", expected='"03:00" or 2026-01-31T03:00', remedy="Mend it."
            ) from None
    at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    # Tables remember milliseconds, and what was committed at the very time is not before it.
    return at - timedelta(milliseconds=1)


def _snapshot(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def _facts(plan: RestorePlan, later: list[str]) -> list[tuple[str, object]]:
    verb = "brought back" if plan.forward else "undone"
    return [
        ("table", plan.table),
        ("from snapshot", str(plan.from_id)),
        ("to snapshot", f"{plan.to_id} of {plan.committed_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("rows", f"{plan.rows_before:,} -> {plan.rows_after:,}"),
        ("files", f"{plan.files_before:,} -> {plan.files_after:,}"),
        (f"snapshots {verb}", len(plan.undone)),
        (f"runs {verb}", ", ".join(plan.run_keys)),
        *(
            (
                f"progress of {scope}",
                f"{_position(plan.progress_before, scope)} -> {_position(plan.progress_after, scope)}",
            )
            for scope in sorted({*plan.progress_before, *plan.progress_after})
        ),
        ("read downstream by", ", ".join(later) or "no table"),
    ]


def _position(progress: object, scope: str) -> str:
    found = progress.get(scope) if isinstance(progress, dict) else None
    return "none" if found is None else json.dumps(found)


def _say_end(plan: RestorePlan, tags: list[str], *, done: bool) -> None:
    if plan.from_id == plan.to_id:
        out.print("\nMain is there already: nothing to restore.")
    elif not done:
        out.print("\nNothing was changed. Do it with --yes.", style="bold")
    else:
        out.print("\nRestored.", style="bold")
        for tag in tags:
            out.print(f"Undo it within a week: lakehouse restore {plan.table} --snapshot {tag} --yes", style="dim")
