"""Rules of two versions of a contract, compared by their names: what a table promises less than before breaks.

A warning holds nothing back, so it promises nothing, and its loss breaks nobody. What `required` and keys make is
compared in `diff_columns.py` and `diff.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from lakehouse.contracts.diff_ranges import move_of_bound, move_of_limit, move_of_set
from lakehouse.contracts.difference import Difference, Move
from lakehouse.contracts.words import bound_in_words
from lakehouse.tables import Bound, Rule, RuleKind, Severity, Table, TableRule, TableRuleKind

AnyRule = Rule | TableRule
_REASONS = {
    Move.WIDENED: "it lets pass what readers did not meet before",
    Move.NARROWED: "what readers meet, it allowed before",
    Move.CHANGED: "whether it allows more cannot be told",
}


def compare_rules(old: Table, new: Table) -> Iterator[Difference]:
    """Every difference between the rules, in the old order, then the new rules."""
    before, after = _by_name(old), _by_name(new)
    had, has = ({column.name for column in table.columns} for table in (old, new))
    # The rules of a column that went or came did so with it, which is said of the column.
    for name, rule in before.items():
        if name in after:
            yield from _compare(rule, after[name])
        elif _columns(rule) <= has:
            yield _removed(rule)
    for name, rule in after.items():
        if name not in before and _columns(rule) <= had:
            reason = "it only warns" if _warns(rule) else "it promises more"
            yield Difference(_subject(rule), Move.ADDED, rule.description or rule.kind, False, reason)


def _removed(rule: AnyRule) -> Difference:
    blocking = rule.severity is Severity.ERROR
    reason = "rows that it held back may come" if blocking else "a warning held nothing back"
    return Difference(_subject(rule), Move.REMOVED, rule.description or rule.kind, blocking, reason)


def _compare(old: AnyRule, new: AnyRule) -> Iterator[Difference]:
    subject = _subject(old)
    if old.severity is not new.severity:
        weaker = new.severity is Severity.WARNING
        yield Difference(
            subject,
            Move.WIDENED if weaker else Move.NARROWED,
            f"severity {old.severity} -> {new.severity}",
            weaker,
            "rows that it held back may come" if weaker else "it holds back what it only showed",
        )
    move = _move(old, new)
    if move is not None:
        binding = old.severity is Severity.ERROR
        reason = _REASONS[move] if binding else "a warning held nothing back"
        yield Difference(subject, move, _change(old, new), binding and move is not Move.NARROWED, reason)
    elif old.description != new.description and old.kind is not TableRuleKind.FRESH:
        yield Difference(subject, Move.CHANGED, "description", False, "it is for people")


def _move(old: AnyRule, new: AnyRule) -> Move | None:
    """How what a rule allows moved; None when it says the same."""
    if isinstance(old, Rule) and isinstance(new, Rule):
        return _move_of_row_rule(old, new)
    if isinstance(old, TableRule) and isinstance(new, TableRule) and old.kind is new.kind:
        return _move_of_table_rule(old, new)
    return Move.CHANGED


def _move_of_row_rule(old: Rule, new: Rule) -> Move | None:
    if old.predicate == new.predicate:
        return None
    one, other = old.arguments, new.arguments
    if (old.kind, old.column, one.get("sign")) != (new.kind, new.column, other.get("sign")):
        return Move.CHANGED
    match old.kind:
        case RuleKind.ACCEPTED_VALUES:
            return move_of_set(cast("tuple[object, ...]", one["values"]), cast("tuple[object, ...]", other["values"]))
        case RuleKind.LIMIT:
            return move_of_limit(str(one["sign"]), one["bound"], other["bound"])
        case RuleKind.LENGTH:
            return move_of_limit(str(one["sign"]), one["length"], other["length"])
        case _:
            return Move.CHANGED


def _move_of_table_rule(old: TableRule, new: TableRule) -> Move | None:
    one, other = dict(old.arguments), dict(new.arguments)
    if old.kind is TableRuleKind.UNIQUE:
        # What is unique in some columns is so in more of them.
        return move_of_set(old.columns, new.columns)
    if old.kind is TableRuleKind.FRESH:
        # Its span of time is the contract's latency, which is compared by itself.
        return None if old.columns == new.columns else Move.CHANGED
    bound, bound_now = one.pop("bound", None), other.pop("bound", None)
    if old.columns != new.columns or one != other:
        return Move.CHANGED
    return move_of_bound(bound, bound_now) if isinstance(bound, Bound) and isinstance(bound_now, Bound) else None


def _by_name(table: Table) -> dict[str, AnyRule]:
    """The rules but those that are compared as what they are made from: required columns and unique ones."""
    rules: list[AnyRule] = [rule for rule in table.rules if rule.kind is not RuleKind.NOT_NULL or _warns(rule)]
    rules += [rule for rule in table.table_rules if rule.kind is not TableRuleKind.UNIQUE or _warns(rule)]
    return {rule.name: rule for rule in rules}


def _warns(rule: AnyRule) -> bool:
    return rule.severity is Severity.WARNING


def _columns(rule: AnyRule) -> set[str]:
    return set(rule.columns) if isinstance(rule, TableRule) else {rule.column} if rule.column else set()


def _subject(rule: AnyRule) -> str:
    return f"rule {rule.name}"


def _change(old: AnyRule, new: AnyRule) -> str:
    """What a rule said and says, in a line; of a list of values only those that came and went."""
    one, other = old.arguments.get("values"), new.arguments.get("values")
    if not isinstance(one, tuple) or not isinstance(other, tuple):
        return f"{_shown(old)} -> {_shown(new)}"
    came, went = [value for value in other if value not in one], [value for value in one if value not in other]
    parts = [f"with {', '.join(map(str, came))}"] if came else []
    parts += [f"without {', '.join(map(str, went))}"] if went else []
    return ", ".join(parts)


def _shown(rule: AnyRule) -> str:
    if isinstance(rule, Rule):
        if rule.kind is RuleKind.SQL:
            return rule.predicate
        return f"{rule.kind} {' '.join(map(str, rule.arguments.values()))}".rstrip()
    bound = rule.arguments.get("bound")
    said = [", ".join(rule.columns)] if rule.columns else []
    said += [str(value) for key, value in rule.arguments.items() if key != "bound"]
    said += [bound_in_words(bound)] if isinstance(bound, Bound) else []
    return "; ".join(" ".join(one.split()) for one in said)
