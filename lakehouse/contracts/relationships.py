"""Foreign keys of contracts: `relationships` of columns and tables, as table rules.

`to` is `table.column` in the same layer, or `layer.table.column`. Whether the other table exists is asked when all
contracts are read (`read.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from open_data_contract_standard.model import Relationship

from lakehouse.contracts.document import Place
from lakehouse.contracts.quality import known_columns, parse_severity
from lakehouse.contracts.rules import rule_name
from lakehouse.errors import SettingsError
from lakehouse.tables import Column, Severity, TableName, TableRule, TableRuleKind


def relationship_rule(
    entry: Relationship, own: TableName, columns: Mapping[str, Column], place: Place, *, column: str | None = None
) -> TableRule:
    """One relationship, of a column or (with `from`) of the table. Raises ContractError when it points nowhere."""
    if entry.type not in {None, "foreignKey"}:
        raise (place / "type").unknown("type of relationship", entry.type, ("foreignKey",))
    if column is not None:
        sources: tuple[str, ...] = (column,)
    else:
        origin = _references(entry.from_, own, place / "from")
        if any(table != own for table, _ in origin):
            raise (place / "from").error("`from` names another table", expected=str(own), remedy="Name this table.")
        sources = known_columns([name for _, name in origin], columns, place / "from")
    targets = _references(entry.to, own, place / "to")
    tables = {table for table, _ in targets}
    if len(tables) != 1 or len(targets) != len(sources):
        raise (place / "to").error(
            "a relationship leads to as many columns of one other table as it begins with",
            expected=f"{len(sources)} of one table",
            found=", ".join(f"{table}.{name}" for table, name in targets),
            remedy="Pair the columns.",
        )
    to = tables.pop()
    return TableRule(
        rule_name(*sources, "in", to.layer.value, to.table),
        TableRuleKind.RELATIONSHIP,
        sources,
        {"to": to, "to_columns": tuple(name for _, name in targets)},
        _severity(entry, place),
        f"{', '.join(sources)} is found in {to}",
    )


def check_target(rule: TableRule, columns: Mapping[TableName, tuple[str, ...]], place: Place) -> None:
    """Raises ContractError when a relationship leads to a table or column that no contract declares."""
    to, names = rule.arguments["to"], rule.arguments["to_columns"]
    if not isinstance(to, TableName) or not isinstance(names, tuple):
        message = f"not a relationship: {rule}"
        raise TypeError(message)
    if to not in columns:
        raise (place / "to").unknown("table", to, [str(name) for name in columns])
    for name in names:
        if name not in columns[to]:
            raise (place / "to").unknown(f"column of {to}", name, columns[to])


def _references(value: str | list[str] | None, own: TableName, place: Place) -> tuple[tuple[TableName, str], ...]:
    texts = value if isinstance(value, list) else [value] if value else []
    if not texts:
        raise place.error("a relationship has two ends", remedy="State it as `table.column`.")
    return tuple(_reference(text, own, place) for text in texts)


def _reference(text: str, own: TableName, place: Place) -> tuple[TableName, str]:
    head, _, column = text.rpartition(".")
    qualified = head if "." in head else f"{own.layer.value}.{head}"
    try:
        return TableName.parse(qualified), column
    except SettingsError as error:
        raise place.error(
            f"{text!r} is not a reference", expected="table.column or layer.table.column", remedy="Write it so."
        ) from error


def _severity(entry: Relationship, place: Place) -> Severity:
    severity = Severity.ERROR
    for position, custom in enumerate(entry.customProperties or []):
        at = place / "customProperties" / position
        if custom.property != "severity":
            raise (at / "property").unknown("customProperty", custom.property, ("severity",))
        severity = parse_severity(custom.value, at / "value")
    return severity
