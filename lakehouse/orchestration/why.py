"""Why a table is not newer, as a value: its last write, the reasons upstream first, and the one command to run next.

Whether it is up to date is told by the data alone (`why_lake.py`); what Dagster remembers (`why_runs.py`) explains it.
How the answer looks belongs in `cli/why.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.upstream import require_declared, upstream_first
from lakehouse.orchestration.why_next import Next, next_step
from lakehouse.orchestration.why_reasons import STATE, Kind, Reason
from lakehouse.settings import Settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.orchestration.why_last import LastWrite


@dataclass(frozen=True)
class Answer:
    """Why a table is not newer. `last` is None for a table that was never written to.

    `reasons` stand upstream first. `notes`: sentences about Dagster, e.g. that it could not be asked.
    """

    table: TableName
    last: LastWrite | None
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]
    next: Next | None

    @property
    def up_to_date(self) -> bool:
        """Whether the table shows all that its sources have, as far as it was let through the door."""
        return not any(reason.kind in STATE for reason in self.reasons)

    @property
    def holding(self) -> tuple[Reason, ...]:
        """The reasons that keep it from being newer, none when it is up to date."""
        if self.up_to_date:
            return ()
        return tuple(reason for reason in self.reasons if not reason.beside)

    @property
    def beside(self) -> tuple[Reason, ...]:
        """What is worth knowing, and keeps nothing back."""
        holding = self.holding
        return tuple(reason for reason in self.reasons if reason not in holding)


def why(settings: Settings, declarations: Declarations, name: TableName) -> Answer:
    """Look at a table and at all that it is computed from. Nothing is changed.

    Raises TableMissing for a table that no contract declares, TransformError when the models are not compiled,
    CatalogError and StateError when the lake cannot be read. A source or an instance of Dagster that cannot be asked is
    part of the answer.
    """
    from lakehouse.iceberg import Lake
    from lakehouse.orchestration.why_held import Held
    from lakehouse.orchestration.why_lake import State
    from lakehouse.orchestration.why_last import last_write

    require_declared(declarations, name)
    parents = ModelGraph.read(settings, declarations).parents
    chain = upstream_first(parents, name)
    lake = Lake.open(settings)
    state = State(settings, lake, declarations, chain, parents).find()
    held = Held(settings, lake, declarations, chain).find(state)
    out_of_date = {day for reason in state if reason.kind is Kind.DAYS for one in reason.days for day in one.days}
    runs, notes = _asked_of_dagster(settings, chain, out_of_date)
    place = {one: number for number, one in enumerate(chain)}
    reasons = tuple(sorted([*state, *held, *runs], key=lambda reason: (place[reason.table], reason.rank)))
    return Answer(
        table=name,
        last=last_write(lake, declarations[name]),
        reasons=reasons,
        notes=notes,
        next=next_step(declarations[name], reasons),
    )


def _asked_of_dagster(
    settings: Settings, chain: Sequence[TableName], out_of_date: Collection[date]
) -> tuple[list[Reason], tuple[str, ...]]:
    from lakehouse.orchestration.home import open_instance
    from lakehouse.orchestration.why_runs import daemon_rests, run_reasons

    try:
        with open_instance(settings) as instance:
            found = run_reasons(instance, chain, out_of_date)
            rests = daemon_rests(instance)
    except Exception as error:  # noqa: BLE001  (whatever keeps Dagster from answering is told, and the data still answers)
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        return [], (f"Dagster's runs could not be asked: {first}",)
    resting = "Dagster's daemon does not run: nothing is loaded or repaired by itself until `lakehouse ui` does"
    return found, (resting,) if rests else ()
