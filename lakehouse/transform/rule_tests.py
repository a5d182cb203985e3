"""A contract's rules as dbt's tests: the audits that a run asks for, and each rule rendered for `dbt test` by hand.

The rest of the YAML is `render.py`. How a rule is judged in a run does not belong here (`quality/`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from lakehouse.contracts.failures import failures_query, tables_read
from lakehouse.contracts.rules import not_null
from lakehouse.tables import Layer, Rule, Severity, Table, TableName, TableRule, TableRuleKind
from lakehouse.transform.manifest import BY_HAND

_BUILT = (Layer.SILVER, Layer.GOLD)
_NOT_RENDERED = (TableRuleKind.EXPECTATION, TableRuleKind.FRESH)
"""Kinds that only the gate can judge."""
_TABLE = re.compile(r"(?<![\w.\"'])(bronze|silver|gold)\.([a-z]\w*)\b(?!\.)")

Tests = list[dict[str, Any]]


def audits(table: Table) -> Tests:
    """The tests that ask for the audit of a table's rules; none for a table without rules.

    One for the rules that read no other model's table, so that this one is judged as soon as it is written; one for the
    rest, which waits for what those rules read.
    """
    own: list[Rule | TableRule] = list(table.rules)
    referring: list[TableRule] = []
    others: set[TableName] = set()
    for rule in table.table_rules:
        # What dbt does not build is there already.
        read = {name for name in tables_read(rule) if name.layer in _BUILT and name != table.name}
        others |= read
        if read:
            referring.append(rule)
        else:
            own.append(rule)
    made = [_audit(table.name, "audit", own, ())] if own else []
    return made + ([_audit(table.name, "audit_references", referring, sorted(others))] if referring else [])


def rendered_rules(table: Table) -> tuple[dict[str, Tests], Tests]:
    """Tests by column, and those of the table. Each says in its meta which rule of the contract it is."""
    on_column: dict[str, Tests] = {}
    on_table: Tests = []

    def add(column: str | None, rule: Rule | TableRule, test: dict[str, Any]) -> None:
        tests = on_table if column is None else on_column.setdefault(column, [])
        tests.append(_named(table.name, rule, test))

    required = {not_null(column.name) for column in table.stored_columns if column.required}
    for rule in table.rules:
        if rule.predicate not in required:
            add(rule.column, rule, {"expression_is_true": {"arguments": {"expression": as_text(rule.predicate)}}})
        elif rule.column in table.primary_key:
            # No write lets a NULL into a required column (`write.py`), so that only keys are looked at once more.
            add(rule.column, rule, {"not_null": {}})
    for table_rule in table.table_rules:
        if table_rule.kind not in _NOT_RENDERED:
            add(*_table_test(table_rule, table))
    return on_column, on_table


def as_text(text: str) -> str:
    """Text that Jinja leaves as it is."""
    return f"{{% raw %}}{text}{{% endraw %}}" if any(mark in text for mark in ("{{", "{%", "{#")) else text


def _audit(
    name: TableName, suffix: str, rules: Sequence[Rule | TableRule], others: Sequence[TableName]
) -> dict[str, Any]:
    blocking = any(rule.severity is Severity.ERROR for rule in rules)
    body: dict[str, Any] = {
        "name": f"{name.layer}_{name.table}_{suffix}",
        "description": f"the contract's rules that {'read other models' if others else 'need no other model'}",
    }
    if others:
        body["arguments"] = {"reads": [_reference(other) for other in others]}
    # Said here, where it is stronger than what a project says of all its tests.
    config = {"enabled": True, "severity": "error" if blocking else "warn", "store_failures": False}
    body["config"] = {**config, "meta": {"audit": [rule.name for rule in rules]}}
    return {"audit": body}


def _table_test(rule: TableRule, table: Table) -> tuple[str | None, TableRule, dict[str, Any]]:
    """A test that dbt brings where it has one, else the contract's query of what is wrong."""
    column = rule.columns[0] if len(rule.columns) == 1 else None
    if rule.kind is TableRuleKind.UNIQUE and column is not None:
        return column, rule, {"unique": {}}
    to = rule.arguments.get("to")
    if rule.kind is TableRuleKind.RELATIONSHIP and column is not None and isinstance(to, TableName):
        (field,) = cast("tuple[str]", rule.arguments["to_columns"])
        return column, rule, {"relationships": {"arguments": {"to": _reference(to), "field": field}}}
    query = failures_query(rule, table.name, lambda name: f"{{{{ {_reference(name)} }}}}")
    return column, rule, {"no_rows": {"arguments": {"query": _TABLE.sub(_referred, query)}}}


def _reference(name: TableName) -> str:
    return f"source('{name.layer}', '{name.table}')" if name.layer is Layer.BRONZE else f"ref('{name.table}')"


def _referred(found: re.Match[str]) -> str:
    """A table that a query names, as dbt names it: then dbt builds that table before it asks."""
    return f"{{{{ {_reference(TableName(Layer(found[1]), found[2]))} }}}}"


def _named(name: TableName, rule: Rule | TableRule, test: dict[str, Any]) -> dict[str, Any]:
    severity = "error" if rule.severity is Severity.ERROR else "warn"
    config = {"severity": severity, "tags": [BY_HAND], "meta": {"rule": rule.name}}
    ((kind, body),) = test.items()
    described = {"description": as_text(rule.description)} if rule.description else {}
    return {kind: {"name": f"{name.layer}_{name.table}_{rule.name}", **described, **body, "config": config}}
