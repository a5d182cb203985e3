"""The gate where the warehouse is on S3: the same connection reads it."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from lakehouse.iceberg import Lake, arrow_schema
from lakehouse.quality import Gate
from lakehouse.settings import S3, Settings
from lakehouse.tables import Rule, Table, TableRule, TableRuleKind


def test_a_branch_on_s3_is_judged(
    settings: Settings, s3: S3, table: Callable[..., Table], row_rule: Callable[..., Rule]
) -> None:
    there = settings.model_copy(update={"warehouse": "s3://lake/judged", "s3": s3})
    lake = Lake.open(there)
    rules = (row_rule("small", "order_id < 2", "order_id"), TableRule("keys", TableRuleKind.UNIQUE, ("order_id",)))
    orders = table("silver.orders", *rules)
    made = lake.create(orders)
    made.create_branch("run/1")
    rows = [dict.fromkeys(column.name for column in orders.columns) | {"order_id": number} for number in (1, 2)]
    made.append(pa.Table.from_pylist(rows, schema=arrow_schema(orders.columns)), run_key="one", branch="run/1")
    small, keys = Gate(there, lake, {orders.name: orders}).audit(orders.name, at="run/1")
    assert (small.failed, small.rows, small.sample[0]["order_id"]) == (1, 2, "2")
    assert keys.passed
