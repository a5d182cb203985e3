"""A parsed contract becomes a Table: the one translation from the standard's words to ours.

What needs other contracts (relationships, names in queries) is checked afterwards by `read.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from open_data_contract_standard.model import DataQuality, OpenDataContractStandard, SchemaObject, Team

from lakehouse.contracts.agreements import Latency
from lakehouse.contracts.columns import primary_key_of, table_columns, table_schema
from lakehouse.contracts.document import Place
from lakehouse.contracts.history import history_policy
from lakehouse.contracts.keys import merge_policy
from lakehouse.contracts.properties import CustomProperties
from lakehouse.contracts.quality import Subject, quality_rule
from lakehouse.contracts.relationships import relationship_rule
from lakehouse.contracts.rules import column_rules, rule_name
from lakehouse.errors import ContractError
from lakehouse.tables import Column, Layer, PartitionField, Rule, Strategy, Table, TableName, TableRule, TableRuleKind

_BY_KEY = {Strategy.MERGE, Strategy.DELETE_INSERT, Strategy.SCD2}


@dataclass(frozen=True)
class Compiled:
    """A table, where each of its rules is stated, and the mistakes in rules, which the table then lacks.

    `follows`: where it states which of its days others touch.
    """

    table: Table
    places: Mapping[str, Place]
    mistakes: tuple[ContractError, ...] = ()
    follows: Place | None = None


def compile_table(contract: OpenDataContractStandard, name: TableName, domain: str, top: Place) -> Compiled:
    """The table that a contract declares; layer, name and domain come from its path.

    Raises ContractError for whatever else than a rule the contract says that cannot be done.
    """
    schema, at = table_schema(contract, name, top)
    described = contract.description.purpose if contract.description else None
    if not (described and described.strip()):
        raise (top / "description").error("missing description", remedy="Add `description: {purpose: ...}`.")
    if contract.domain not in {None, domain}:
        raise (top / "domain").error("the domain is that of the folder", expected=domain, remedy="Remove the key.")
    columns = {column.name: column for column in table_columns(schema, name, at / "properties")}
    custom = CustomProperties.of(contract.customProperties or [], top / "customProperties")
    _check_layer(name, custom)
    key = primary_key_of(schema, name, at)
    window_column, window_start, business_day = custom.window(columns, name.layer)
    strategy = _strategy(name, custom, window_column)
    rules = _Rules()
    _collect(rules, schema, name, columns, at)
    _collect_uniqueness(rules, name, columns, key, at)
    agreed = Latency.of(contract.slaProperties or [], top / "slaProperties")
    if agreed is not None and agreed.element is not None:
        with rules.noting():
            rules.add(agreed.rule(name, columns), agreed.place)
    table = Table(
        name=name,
        domain=domain,
        description=_description(contract),
        columns=tuple(columns.values()),
        file=top.document.path.absolute(),
        owners=_owners(contract, top),
        tags=_tags(contract, schema),
        primary_key=key,
        partition_by=_partitions(custom, columns, window_column),
        sort_by=custom.sort(columns),
        window_column=window_column,
        window_start=window_start,
        business_day=business_day,
        follows=custom.follows(name, windowed=window_column is not None and name.layer is not Layer.BRONZE),
        load=custom.load(),
        strategy=strategy,
        merge=merge_policy(custom, strategy, columns, key),
        history=history_policy(custom, strategy, columns, key),
        rules=tuple(rules.rows),
        table_rules=tuple(rules.tables),
        fresh_within=agreed.within if agreed else None,
        upkeep=custom.upkeep(),
        evolution=custom.evolution(),
        drop=custom.drop(columns),
        version=contract.version or "",
    )
    return Compiled(table, rules.places, tuple(rules.mistakes), custom.place("follows"))


class _Rules:
    """Rules in the order of the contract, no two of one name."""

    def __init__(self) -> None:
        self.rows: list[Rule] = []
        self.tables: list[TableRule] = []
        self.places: dict[str, Place] = {}
        self.mistakes: list[ContractError] = []

    @contextmanager
    def noting(self) -> Iterator[None]:
        """One rule's mistake does not hide those of the next."""
        try:
            yield
        except ContractError as error:
            self.mistakes.append(error)

    def add(self, rule: Rule | TableRule, place: Place) -> None:
        if rule.name in self.places:
            raise place.error(
                f"two rules are named {rule.name}",
                found=f"the other at {self.places[rule.name]}",
                remedy="Remove one, or give one of them another `name`.",
            )
        self.places[rule.name] = place
        if isinstance(rule, Rule):
            self.rows.append(rule)
        else:
            self.tables.append(rule)


def _check_layer(name: TableName, custom: CustomProperties) -> None:
    bronze = name.layer is Layer.BRONZE
    if bronze and "load" not in custom:
        raise custom.top.error(
            "a bronze table without load",
            remedy="Add the customProperty `load`, e.g. {source: shop, table: public.orders}.",
        )
    for key in ("load", "rejectLimit", "deletesLimit", "drift") if not bronze else ("strategy", "merge", "history"):
        if key in custom:
            raise custom.place(key).error(
                f"{key} on a {name.layer.value} table",
                remedy="Remove it: bronze tables are loaded and appended to, silver and gold ones are models.",
            )


def _strategy(name: TableName, custom: CustomProperties, window_column: str | None) -> Strategy:
    if name.layer is Layer.BRONZE:
        return Strategy.APPEND
    strategy = custom.strategy() or Strategy.REPLACE
    if window_column and strategy in _BY_KEY:
        raise custom.place("strategy").error(
            f"{strategy} on a windowed table, whose days are replaced",
            expected="strategy: overwrite, or no window",
            remedy=f"Remove the window; `partition: [day({window_column})]` keeps rows of a day together all the same.",
        )
    if window_column and strategy is Strategy.REPLACE:
        raise custom.place("strategy").error(
            "a windowed table is not replaced as a whole: a run of some days would remove all others",
            remedy="Add the customProperty `strategy: overwrite`.",
        )
    if strategy is Strategy.OVERWRITE and not window_column:
        raise custom.place("strategy").error("overwrite without a window", remedy="Add the customProperty `window`.")
    return strategy


def _collect(rules: _Rules, schema: SchemaObject, name: TableName, columns: Mapping[str, Column], at: Place) -> None:
    """Every rule that the contract states, columns first."""
    for position, prop in enumerate(schema.properties or []):
        place = at / "properties" / position
        column = columns[str(prop.name)]
        with rules.noting():
            for rule in column_rules(prop, column, place):
                rules.add(rule, place)
        _collect_quality(rules, prop.quality or [], Subject(columns, column), place / "quality")
        for number, link in enumerate(prop.relationships or []):
            there = place / "relationships" / number
            with rules.noting():
                rules.add(relationship_rule(link, name, columns, there, column=column.name), there)
    _collect_quality(rules, schema.quality or [], Subject(columns), at / "quality")
    for number, link in enumerate(schema.relationships or []):
        there = at / "relationships" / number
        with rules.noting():
            rules.add(relationship_rule(link, name, columns, there), there)


def _collect_quality(rules: _Rules, entries: Sequence[DataQuality], subject: Subject, at: Place) -> None:
    for number, entry in enumerate(entries):
        with rules.noting():
            found = quality_rule(entry, subject, at / number)
            if found is not None:
                rules.add(found, at / number)


def _collect_uniqueness(
    rules: _Rules, name: TableName, columns: Mapping[str, Column], key: tuple[str, ...], at: Place
) -> None:
    """Uniqueness of the key and of unique columns; of none in bronze, which keeps every version."""
    if name.layer is Layer.BRONZE:
        return
    singles = [(column.name,) for column in columns.values() if column.unique and (column.name,) != key]
    for names in (key, *singles):
        description = f"no two rows have the same {', '.join(names)}"
        rules.add(
            TableRule(rule_name(*names, "unique"), TableRuleKind.UNIQUE, names, description=description),
            at / "properties",
        )


def _partitions(
    custom: CustomProperties, columns: Mapping[str, Column], window_column: str | None
) -> tuple[PartitionField, ...]:
    day = (PartitionField(window_column, "day"),) if window_column else ()
    fields = (*day, *custom.partition(columns))
    if len(set(fields)) != len(fields):
        raise custom.place("partition").error(
            "a partition field is stated twice", remedy="Remove one; windowed tables are partitioned by day already."
        )
    return fields


def _description(contract: OpenDataContractStandard) -> str:
    described = contract.description
    if described is None:
        return ""
    parts = [described.purpose or ""]
    parts += [f"Usage: {described.usage}"] if described.usage else []
    parts += [f"Limitations: {described.limitations}"] if described.limitations else []
    return "\n\n".join(part.strip() for part in parts)


def _owners(contract: OpenDataContractStandard, top: Place) -> tuple[str, ...]:
    members = contract.team.members if isinstance(contract.team, Team) else contract.team
    owners = tuple(member.username for member in members or [] if member.username)
    if not owners:
        raise (top / "team").error("missing owner", remedy="Add `team: {members: [{username: someone@example.com}]}`.")
    return owners


def _tags(contract: OpenDataContractStandard, schema: SchemaObject) -> Mapping[str, str]:
    """Tags as pairs: `finance` has no value, `tier:gold` has one."""
    pairs = (tag.partition(":") for tag in [*(contract.tags or []), *(schema.tags or [])])
    return {key.strip(): value.strip() for key, _, value in pairs}
