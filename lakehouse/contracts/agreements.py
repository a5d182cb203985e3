"""The service levels of a contract, its `slaProperties`: how late a table may be.

Only `latency` is acted upon; the standard's other properties are for people. How the clock is read and what is done
about a late table does not belong here (`quality/`, `orchestration/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from open_data_contract_standard.model import ServiceLevelAgreementProperty

from lakehouse.contracts.document import Place
from lakehouse.contracts.words import span_in_words
from lakehouse.tables import Column, Severity, TableName, TableRule, TableRuleKind

_UNITS = {
    **dict.fromkeys(("m", "min", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
}
_LONGEST = timedelta(days=100 * 365)
_MOMENTS = {"date", "timestamp", "timestamptz"}


@dataclass(frozen=True)
class Latency:
    """How old a table may become, and (with `element`, as `table.column`) which column tells the age of its rows."""

    within: timedelta
    place: Place
    element: str | None = None
    description: str | None = None

    @classmethod
    def of(cls, properties: Sequence[ServiceLevelAgreementProperty], place: Place) -> Latency | None:
        """The one `latency` of a contract, if it has one. Raises ContractError for two, and for no span of time."""
        found: Latency | None = None
        for position, sla in enumerate(properties):
            if sla.property != "latency":
                continue
            at = place / position
            if found is not None:
                raise at.error("latency is stated twice", remedy="Remove one of them.")
            found = cls(_span(sla, at), at, sla.element, sla.description)
        return found

    def rule(self, own: TableName, columns: Mapping[str, Column]) -> TableRule:
        """The rule `fresh`. Raises ContractError unless the element is a date or timestamp of the table.

        A warning: rows that come late are still newer than those that are published, and are not held back.
        """
        table, _, column = (self.element or "").rpartition(".")
        at = self.place / "element"
        if table != own.table:
            raise at.error(
                "the element is no column of this table",
                expected=f"{own.table}.<column>",
                found=self.element,
                remedy=f"Name the column of {own.table} that says when a row happened or last changed.",
            )
        if column not in columns:
            raise at.unknown("column", column, list(columns))
        if columns[column].type not in _MOMENTS:
            raise at.error(
                f"{column} cannot tell how old a row is",
                expected="a date or timestamp",
                found=columns[column].type,
                remedy="Name another column, or remove `element`.",
            )
        late = f"the newest {column} is at most {span_in_words(self.within)} old when the table is published"
        return TableRule(
            "fresh",
            TableRuleKind.FRESH,
            (column,),
            {"within": self.within},
            Severity.WARNING,
            self.description or f"{late}; late rows are published all the same, for they are newer than those before",
        )


def _span(sla: ServiceLevelAgreementProperty, place: Place) -> timedelta:
    unit = _UNITS.get(sla.unit or "")
    value = sla.value
    if (
        unit is None
        or isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value <= _LONGEST / unit
    ):
        raise place.error(
            "a latency is a number above 0 with a unit",
            expected="{property: latency, value: 24, unit: h} (m, h or d)",
            found=f"{value!r} {sla.unit or ''}".strip(),
            remedy="Write it so.",
        )
    return unit * value
