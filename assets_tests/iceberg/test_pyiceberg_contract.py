"""We use PyIceberg's internals: on any other version these fail before a table is harmed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import NotEqualTo
from pyiceberg.expressions.visitors import _StrictMetricsEvaluator
from pyiceberg.io.pyarrow import (
    _combine_positional_deletes,
    _get_column_projection_values,
    _read_all_delete_files,
    _task_to_record_batches,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestWriterV2
from pyiceberg.partitioning import validate_partition_name
from pyiceberg.schema import Schema
from pyiceberg.table import ManifestGroupPlanner
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.name_mapping import update_mapping
from pyiceberg.table.snapshots import Operation, Summary, update_snapshot_summaries
from pyiceberg.table.update.snapshot import _FastAppendFiles, _SnapshotProducer
from pyiceberg.typedef import Record
from pyiceberg.types import IntegerType, NestedField


def test_the_version_is_the_one_whose_internals_were_read() -> None:
    assert version("pyiceberg") == "0.12.0", "read pyiceberg.table.update.snapshot again, then change this number"


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [
        (_SnapshotProducer, "_commit", ["self"]),
        (_SnapshotProducer, "_refresh_for_retry", ["self"]),
        (_SnapshotProducer, "_validate_concurrency", ["self"]),
        (_SnapshotProducer, "_summary", ["self", "snapshot_properties"]),
        (_SnapshotProducer, "_manifests", ["self"]),
        (_SnapshotProducer, "_deleted_entries", ["self"]),
        (_SnapshotProducer, "_existing_manifests", ["self"]),
        (_SnapshotProducer, "_build_delete_files_partition_predicate", ["self"]),
        (_SnapshotProducer, "new_manifest_writer", ["self", "spec"]),
        (ManifestWriterV2, "content", ["self"]),
        (IcebergTable, "_do_commit", ["self", "updates", "requirements"]),
        (_FastAppendFiles, "_existing_manifests", ["self"]),
        (SqlCatalog, "commit_table", ["self", "table", "requirements", "updates"]),
    ],
)
def test_overridden_methods_have_the_shape_that_we_override(owner: type, method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters


def test_a_commit_sees_the_table_only_through_its_transaction() -> None:
    """Ours stages nothing, so that all of it is what the catalog holds."""
    assert "self._transaction.table_metadata" in inspect.getsource(vars(_SnapshotProducer)["_commit"])
    assert "self._transaction.table_metadata" in inspect.getsource(vars(_SnapshotProducer)["_current_branch_head_id"])


def test_what_an_attempt_wrote_is_listed_for_clean_up() -> None:
    source = inspect.getsource(_SnapshotProducer)
    assert "self._uncommitted_manifests.extend(self._written_manifests)" in source
    assert "self._written_manifest_lists.append(manifest_list_file_path)" in source


def test_totals_are_not_computed_for_a_replace() -> None:
    with pytest.raises(ValueError, match="Operation not implemented"):
        update_snapshot_summaries(Summary(Operation.REPLACE))


def test_null_is_unequal_to_everything_in_metadata() -> None:
    """The reason for `predicate.py`: the rows themselves would stay."""
    schema = Schema(NestedField(1, "n", IntegerType()))
    counts = {"record_count": 2, "value_counts": {1: 2}, "null_value_counts": {1: 2}}
    file = DataFile.from_args(file_path="a", partition=Record(), **counts)
    assert _StrictMetricsEvaluator(schema, NotEqualTo("n", 5)).eval(file)


def test_a_data_file_is_its_path() -> None:
    def file(path: str, rows: int) -> DataFile:
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=path,
            file_format=FileFormat.PARQUET,
            partition=Record(),
            record_count=rows,
            file_size_in_bytes=1,
        )

    assert file("a", 1) == file("a", 2)
    assert len({file("a", 1), file("a", 2), file("b", 1)}) == 2


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (_combine_positional_deletes, ["positional_deletes", "start_index", "end_index"]),
        (
            _get_column_projection_values,
            ["file", "projected_schema", "table_schema", "partition_spec", "file_project_field_ids"],
        ),
        (_read_all_delete_files, ["io", "tasks"]),
        (update_mapping, ["mapping", "updates", "adds"]),
        (validate_partition_name, ["field_name", "partition_transform", "source_id", "schema", "partition_names"]),
    ],
)
def test_what_reading_and_evolution_call_has_the_shape_that_they_call(
    function: Callable[..., object], parameters: list[str]
) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def test_files_are_read_by_the_steps_that_our_reader_takes() -> None:
    source = inspect.getsource(_task_to_record_batches)
    steps = ("pyarrow_to_schema(", "_get_column_projection_values(", "translate_column_names(", "prune_columns(")
    places = [source.index(step) for step in (*steps, "Scanner.from_fragment(", "_to_requested_schema(")]
    assert places == sorted(places)


def test_equality_deletes_are_refused_in_the_words_that_we_look_for() -> None:
    assert 'raise ValueError("PyIceberg does not yet support equality deletes' in inspect.getsource(
        ManifestGroupPlanner
    )
