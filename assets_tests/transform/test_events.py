"""Reports survive the way from dbt's process to ours, errors with their class."""

from __future__ import annotations

import json

import pytest

from lakehouse.errors import LakehouseError, PublishConflict, SchemaMismatch, TransformError
from lakehouse.iceberg import Commit
from lakehouse.tables import TableName
from lakehouse.transform.events import BuildFinished, RawNode, Status, error_of, error_values

COMMIT = Commit(
    TableName.parse("silver.orders"),
    "run/1",
    7,
    6,
    "overwrite",
    rows_added=3,
    files_added=1,
    bytes_added=900,
    retries=2,
)


@pytest.mark.parametrize(
    "node",
    [
        RawNode("model.shop.orders", Status.SUCCESS, 1.5, "overwrite 3 rows", 0, COMMIT, None),
        RawNode("test.shop.unique", Status.WARN, 0.1, "Got 2 results", 2, None, None),
    ],
)
def test_a_node_is_the_same_on_the_other_side(node: RawNode) -> None:
    assert RawNode.of(json.loads(json.dumps(node.to_values()))) == node


@pytest.mark.parametrize("kind", [SchemaMismatch, TransformError, PublishConflict])
def test_an_error_keeps_its_class_and_every_part(kind: type[LakehouseError]) -> None:
    error = kind("it broke", expected="peace", found="war", remedy="Mend it.")

    read = error_of(json.loads(json.dumps(error_values(error))))

    assert type(read) is kind
    assert str(read) == str(error)
    assert error_of(error_values(None)) is None


def test_a_build_is_good_unless_something_stood_in_the_way() -> None:
    assert BuildFinished({Status.SUCCESS: 2, Status.PASS: 9, Status.WARN: 1}, 1.0).good
    assert not BuildFinished({Status.SUCCESS: 2, Status.SKIPPED: 1}, 1.0).good
    assert BuildFinished({Status.SUCCESS: 2, Status.FAIL: 0}, 1.0).good
