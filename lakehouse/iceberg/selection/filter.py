"""Iceberg filter text ("amount > 10 and status = 'paid'") as an expression over a table's columns.

Which rows it selects is up to the reader (`scan.py`).
"""

from __future__ import annotations

from decimal import InvalidOperation

from pydantic import ValidationError
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.expressions.visitors import bind
from pyiceberg.schema import Schema
from pyparsing import ParseBaseException

from lakehouse.errors import QueryError
from lakehouse.iceberg.selection.predicate import as_sql


def row_filter(text: str | None, schema: Schema) -> BooleanExpression:
    """The expression of a filter text, checked against the columns; everything for None.

    Names are case-sensitive, and a comparison with NULL selects nothing, as in SQL. Raises QueryError that tells the
    place of what is no filter, or the column or value that does not fit.
    """
    if text is None:
        return AlwaysTrue()
    try:
        expression = parse(text)
        bind(schema, expression, case_sensitive=True)
        return as_sql(expression, schema)
    except ParseBaseException as error:
        raise QueryError(
            f"the filter {text!r} cannot be read at place {error.loc + 1}",
            expected="a filter such as \"amount > 10 and status = 'paid'\"",
            found=repr(text[error.loc :][:40]) if error.loc < len(text) else "its end",
            remedy="Mend the filter; text stands in single quotes, times as '2026-01-31T00:00:00+00:00'.",
        ) from None
    except ValidationError as error:
        # PyIceberg reads them as bare truth values, which its own And, Or and Not refuse.
        raise QueryError(
            f"the filter {text!r} cannot be read", found="true or false beside conditions", remedy="Leave that out."
        ) from error
    except (ValueError, TypeError, InvalidOperation) as error:
        raise QueryError(
            f"the filter {text!r} does not fit the table",
            expected=f"the columns {', '.join(f'{field.name} ({field.field_type})' for field in schema.fields)}",
            found="text beside a decimal column" if isinstance(error, InvalidOperation) else str(error),
            remedy="Mend the name or the value.",
        ) from error
