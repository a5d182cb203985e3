"""Iceberg expressions with the meaning that SQL gives them: a comparison with NULL is neither true nor false.

PyIceberg's own evaluators call `NULL != 5` true, its Arrow filters do not; a filter must mean one thing for metadata
and for rows. Which files and rows a filter selects is `where.py`; how its text is read, `filter.py`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pyiceberg.expressions import (
    AlwaysFalse,
    AlwaysTrue,
    And,
    BooleanExpression,
    BoundPredicate,
    LiteralPredicate,
    NotEqualTo,
    NotIn,
    NotNaN,
    NotNull,
    NotStartsWith,
    Or,
    SetPredicate,
    UnboundPredicate,
)
from pyiceberg.expressions.literals import DecimalLiteral, Literal
from pyiceberg.expressions.visitors import BooleanExpressionVisitor, rewrite_not, visit
from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, IntegerType, LongType

_NEGATIONS = (NotEqualTo, NotIn, NotStartsWith, NotNaN)
"""What PyIceberg takes to be true of NULL."""


def as_sql(expression: BooleanExpression, schema: Schema) -> BooleanExpression:
    """The expression without NOT, where each negation also asks for a value.

    Raises ValueError for a broken number compared with whole ones, which PyIceberg rounds without a word.
    """
    return visit(rewrite_not(expression), _Sql(schema))


class _Sql(BooleanExpressionVisitor[BooleanExpression]):
    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def visit_true(self) -> BooleanExpression:
        return AlwaysTrue()

    def visit_false(self) -> BooleanExpression:
        return AlwaysFalse()

    def visit_not(self, child_result: BooleanExpression) -> BooleanExpression:
        raise AssertionError(child_result)  # pragma: no cover  (rewrite_not leaves none)

    def visit_and(self, left_result: BooleanExpression, right_result: BooleanExpression) -> BooleanExpression:
        return And(left_result, right_result)

    def visit_or(self, left_result: BooleanExpression, right_result: BooleanExpression) -> BooleanExpression:
        return Or(left_result, right_result)

    def visit_unbound_predicate(self, predicate: UnboundPredicate) -> BooleanExpression:
        kind = predicate.term.bind(self._schema, case_sensitive=True).ref().field.field_type
        for value in _literals(predicate):
            _check_whole(kind, value)
        return And(NotNull(term=predicate.term), predicate) if isinstance(predicate, _NEGATIONS) else predicate

    def visit_bound_predicate(self, predicate: BoundPredicate) -> BooleanExpression:
        raise AssertionError(predicate)  # pragma: no cover  (filters are read, not bound)


def _literals(predicate: UnboundPredicate) -> tuple[Literal[Any], ...]:
    if isinstance(predicate, LiteralPredicate):
        return (predicate.literal,)
    return tuple(predicate.literals) if isinstance(predicate, SetPredicate) else ()


def _check_whole(kind: IcebergType, value: Literal[Any]) -> None:
    if isinstance(kind, IntegerType | LongType) and isinstance(value, DecimalLiteral):
        number: Decimal = value.value
        if number != number.to_integral_value():
            message = f"a column of type {kind} holds no {number}"
            raise ValueError(message)
