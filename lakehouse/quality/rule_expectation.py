"""The one expectation of our own: a rule's own SQL, run by Great Expectations beside the library's.

Predicates of all rules of a table are counted in one scan. Which rules need it is decided in `suite.py`. Importing this
module imports Great Expectations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.execution_engine.execution_engine import ExecutionEngine
from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_partial, metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.validator import ValidationDependencies
from sqlalchemy import literal_column

_BROKEN, _WRONG, _FIGURE = "rule.broken_rows", "rule.rows_found", "rule.figure"


class RuleBrokenRows(TableMetricProvider):
    """How many rows break a predicate."""

    metric_name = _BROKEN
    value_keys = ("predicate",)

    @metric_partial(
        engine=SqlAlchemyExecutionEngine,
        partial_fn_type=MetricPartialFunctionTypes.AGGREGATE_FN,
        domain_type=MetricDomainTypes.TABLE,
    )
    def _sqlalchemy(
        cls,  # noqa: N805  (the decorator makes it a class method)
        execution_engine: SqlAlchemyExecutionEngine,  # noqa: ARG002
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],  # noqa: ARG002
        runtime_configuration: dict[str, Any],  # noqa: ARG002
    ) -> Any:  # noqa: ANN401
        counted = f"count(*) filter (where not ({metric_value_kwargs['predicate']}))"
        return literal_column(counted), metric_domain_kwargs, {}


def _first(engine: SqlAlchemyExecutionEngine, sql: str) -> Any:  # noqa: ANN401  (a row)
    with engine.get_connection() as connection:
        return connection.exec_driver_sql(sql).fetchone()


class RuleRowsFound(TableMetricProvider):
    """How many rows a query finds."""

    metric_name = _WRONG
    value_keys = ("query",)

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(
        cls,  # noqa: N805  (the decorator makes it a class method)
        execution_engine: SqlAlchemyExecutionEngine,
        metric_value_kwargs: dict[str, Any],
        **_further: object,
    ) -> int:
        (count,) = _first(execution_engine, f"select count(*) from ({metric_value_kwargs['query']})")
        return int(count)


class RuleFigure(TableMetricProvider):
    """A figure, and whether it is as it must be."""

    metric_name = _FIGURE
    value_keys = ("query",)

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(
        cls,  # noqa: N805  (the decorator makes it a class method)
        execution_engine: SqlAlchemyExecutionEngine,
        metric_value_kwargs: dict[str, Any],
        **_further: object,
    ) -> tuple[Any, bool]:
        found, holds = _first(execution_engine, metric_value_kwargs["query"])
        return found, bool(holds)


class ExpectRuleToHold(BatchExpectation):
    """A rule of a contract holds. One of `predicate`, `query` and `figure` is given (see `suite.OWN`)."""

    rule: str
    predicate: str | None = None
    query: str | None = None
    figure: str | None = None
    column: str | None = None

    domain_keys: ClassVar[tuple[str, ...]] = ("batch_id",)
    success_keys: ClassVar[tuple[str, ...]] = ("rule", "predicate", "query", "figure")

    def get_validation_dependencies(
        self, execution_engine: ExecutionEngine[Any] | None = None, runtime_configuration: dict[str, Any] | None = None
    ) -> ValidationDependencies:
        """The one metric that decides."""
        dependencies = super().get_validation_dependencies(execution_engine, runtime_configuration)
        name, values = self._metric()
        batch = {"batch_id": self.batch_id} if self.batch_id else {}
        dependencies.set_metric_configuration(name, MetricConfiguration(name, batch, values))
        return dependencies

    def _metric(self) -> tuple[str, dict[str, Any]]:
        if self.predicate is not None:
            return _BROKEN, {"predicate": self.predicate}
        if self.query is not None:
            return _WRONG, {"query": self.query}
        return _FIGURE, {"query": self.figure}

    def _validate(
        self,
        metrics: Mapping[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002  (Great Expectations' signature)
        execution_engine: ExecutionEngine[Any] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        name, _ = self._metric()
        value = metrics[name]
        if name == _FIGURE:
            found, holds = value
            return {"success": bool(holds), "result": {"observed_value": found}}
        return {"success": value == 0, "result": {"unexpected_count": value}}
