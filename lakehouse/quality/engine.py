"""Great Expectations, run on a DuckDB connection. Importing this module imports the library: 5 s, once a process.

What is expected is `suite.py`; counts and samples of what failed are `sample.py`. Nothing is fetched from a table here
but figures, so that no value of a row gets into a result.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import duckdb
from great_expectations import __version__
from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
from great_expectations.core.batch import Batch
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.exceptions.exceptions import ExpectationNotFoundError
from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.expectations.registry import get_expectation_impl
from great_expectations.validator.validator import Validator

from lakehouse.quality.dialect import engine_over
from lakehouse.quality.rule_expectation import ExpectRuleToHold
from lakehouse.quality.suite import Expected
from lakehouse.tables import TableName

# Defining it has registered it; that is all that is wanted of it here.
_OWN = ExpectRuleToHold
_BY_ROW = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
_DUCKDB_SAID = re.compile(r"\(_?duckdb\.\w+\) ([^\n]+)")

# The library logs what it hands back as a result all the same.
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)


class _Quiet(Validator):
    """Without a context of its own it would draw progress bars."""

    def _determine_progress_bars(self) -> bool:
        return False


class Engine:
    """Judges one view of a connection, named as the table is."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: TableName) -> None:
        execution = SqlAlchemyExecutionEngine(engine=engine_over(connection), create_temp_table=False)
        data = SqlAlchemyBatchData(execution, *table.key, create_temp_table=False)
        self._validator = _Quiet(execution_engine=execution, batches=[Batch(data=data)])  # type: ignore[arg-type]  # it wants data, and says type

    def judge(
        self, expectations: Sequence[Expected], unreadable: Mapping[str, str]
    ) -> tuple[ExpectationValidationResult, ...]:
        """One result each, in their order; what could not be judged has an exception.

        Expectations of rows tell only whether they hold, the others also what they observed. `unreadable` says by rule
        why it need not be asked.
        """
        configurations = {one.rule.name: _configuration(one, boolean=self.by_row(one)) for one in expectations}
        found = self._run([config for name, config in configurations.items() if name not in unreadable])
        results = []
        for one in expectations:
            name, config = one.rule.name, configurations[one.rule.name]
            if name in unreadable:
                result = _failure(config, unreadable[name])
            else:
                # A query that fails takes all that were asked with it along: whose fault it was, each shows alone.
                result = found.get(name) or self._alone(config)
            results.append(_plain(result, one))
        return tuple(results)

    def unexpected(self, one: Expected, limit: int) -> Mapping[str, Any]:
        """What the library counts and lists of a failed expectation of rows: values of rows, not masked."""
        configuration = _configuration(one, boolean=False)
        listed = {"result_format": "BASIC", "partial_unexpected_count": limit}
        (result,) = self._validator.graph_validate([configuration], {"result_format": listed})
        return dict(result.result)

    def _run(self, configurations: list[ExpectationConfiguration]) -> dict[str, ExpectationValidationResult]:
        """Results by rule, without those that have an exception."""
        try:
            results = self._validator.graph_validate(configurations)
        except Exception:  # noqa: BLE001  (whatever it is, asking each alone says whose)
            return {}
        return {_rule(result): result for result in results if reason(result) is None}

    def _alone(self, configuration: ExpectationConfiguration) -> ExpectationValidationResult:
        try:
            (result,) = self._validator.graph_validate([configuration])
        except Exception as error:  # noqa: BLE001  (the library's classes raise what they like; it becomes a finding)
            return _failure(configuration, str(error))
        return result

    @staticmethod
    def by_row(one: Expected) -> bool:
        """Whether it is an expectation of the library that judges row by row."""
        try:
            return issubclass(get_expectation_impl(one.type), _BY_ROW)
        except ExpectationNotFoundError:
            return False


def suite_of(table: TableName, expectations: Iterable[Expected]) -> ExpectationSuite:
    """The suite as data docs name it, without what Great Expectations refuses: of that, the result says so."""
    suite = ExpectationSuite(name=str(table))
    for one in expectations:
        with suppress(Exception):
            suite.expectations.append(_configuration(one, boolean=False).to_domain_obj())
    return suite


def suite_result(
    table: TableName, results: Sequence[ExpectationValidationResult], facts: Mapping[str, object]
) -> ExpectationSuiteValidationResult:
    """The results as one. `facts` say what was judged."""
    good = sum(bool(result.success) for result in results)
    return ExpectationSuiteValidationResult(
        success=good == len(results),
        results=list(results),
        suite_name=str(table),
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": good,
            "unsuccessful_expectations": len(results) - good,
            "success_percent": 100 * good / len(results) if results else None,
        },
        meta=cast("Any", {"great_expectations_version": __version__, "validation_time": datetime.now(UTC), **facts}),
    )


def reason(result: ExpectationValidationResult) -> str | None:
    """Why a rule could not be judged, in one line; None for one that was."""
    info = result.exception_info or {}
    for one in (info, *(value for value in info.values() if isinstance(value, dict))):
        if one.get("raised_exception"):
            message = str(one.get("exception_message"))
            said = _DUCKDB_SAID.search(message)
            return said[1] if said else next(iter(message.splitlines()), "no reason given")
    return None


def complete(result: ExpectationValidationResult, found: Mapping[str, Any], why: str | None) -> None:
    """Put into a result what is shown of it: what was found or, if it could not be judged, why."""
    result.result = dict(found)
    if why is not None:
        result.exception_info = _exception(why)


def _exception(why: str) -> dict[str, Any]:
    return {"raised_exception": True, "exception_message": why, "exception_traceback": ""}


def _failure(configuration: ExpectationConfiguration, why: str) -> ExpectationValidationResult:
    return ExpectationValidationResult(
        success=False, expectation_config=configuration, exception_info=_exception(why), result={}
    )


def _rule(result: ExpectationValidationResult) -> str:
    config = result.expectation_config
    return str((config.meta or {})["rule"]) if config else ""


def _configuration(one: Expected, *, boolean: bool) -> ExpectationConfiguration:
    return ExpectationConfiguration(
        type=one.type,
        kwargs={**one.kwargs, **({"result_format": "BOOLEAN_ONLY"} if boolean else {})},
        meta={"rule": one.rule.name},
        description=one.rule.description or None,
        severity=FailureSeverity(one.severity),
    )


def _plain(result: ExpectationValidationResult, one: Expected) -> ExpectationValidationResult:
    """The same of the configuration that the suite shows."""
    return ExpectationValidationResult(
        success=bool(result.success),
        expectation_config=_configuration(one, boolean=False),
        result=dict(result.result or {}),
        exception_info=result.exception_info,
        meta={"rule": one.rule.name},
    )
