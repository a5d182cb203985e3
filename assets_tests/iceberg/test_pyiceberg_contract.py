"""We use PyIceberg's internals: on any other version these fail before a table is harmed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version

import pytest
from pydantic import ValidationError
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import NotEqualTo
from pyiceberg.expressions.parser import parse
from pyiceberg.expressions.visitors import _InclusiveMetricsEvaluator, _StrictMetricsEvaluator
from pyiceberg.io.pyarrow import (
    PyArrowFile,
    PyArrowFileIO,
    _combine_positional_deletes,
    _get_column_projection_values,
    _get_file_format,
    _read_all_delete_files,
    _task_to_record_batches,
    _to_requested_schema,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestWriterV2
from pyiceberg.partitioning import validate_partition_name
from pyiceberg.schema import Schema
from pyiceberg.table import ManifestGroupPlanner, Transaction
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table import update as updates
from pyiceberg.table.delete_file_index import DeleteFileIndex, _referenced_data_file_path
from pyiceberg.table.name_mapping import update_mapping
from pyiceberg.table.snapshots import Operation, Summary, update_snapshot_summaries
from pyiceberg.table.update import UpdateTableMetadata
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
        (_SnapshotProducer, "new_manifest_output", ["self"]),
        (_SnapshotProducer, "spec", ["self", "spec_id"]),
        (_SnapshotProducer, "schema", ["self"]),
        (
            _SnapshotProducer,
            "__init__",
            ["self", "operation", "transaction", "io", "commit_uuid", "snapshot_properties", "branch"],
        ),
        (Transaction, "__init__", ["self", "table", "autocommit"]),
        (ManifestWriterV2, "content", ["self"]),
        (ManifestWriterV2, "add_entry", ["self", "entry"]),
        (ManifestWriterV2, "__init__", ["self", "spec", "schema", "output_file", "snapshot_id", "avro_compression"]),
        (IcebergTable, "_do_commit", ["self", "updates", "requirements"]),
        (_FastAppendFiles, "_existing_manifests", ["self"]),
        (SqlCatalog, "commit_table", ["self", "table", "requirements", "updates"]),
        (SqlCatalog, "_init_catalog", ["self"]),
        (SqlCatalog, "_convert_orm_to_iceberg", ["self", "orm_table"]),
        (RestCatalog, "commit_table", ["self", "table", "requirements", "updates"]),
        (RestCatalog, "_create_session", ["self"]),
        (PyArrowFileIO, "_initialize_s3_fs", ["self", "netloc"]),
        (PyArrowFile, "create", ["self", "overwrite"]),
    ],
)
def test_overridden_methods_have_the_shape_that_we_override(owner: type, method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters


def test_a_commit_sees_the_table_only_through_its_transaction() -> None:
    """Ours stages nothing, so that all of it is what the catalog holds."""
    assert "self._transaction.table_metadata" in inspect.getsource(vars(_SnapshotProducer)["_commit"])
    assert "self._transaction.table_metadata" in inspect.getsource(vars(_SnapshotProducer)["_current_branch_head_id"])


def test_a_producer_keeps_its_state_under_the_names_that_we_use() -> None:
    used = {
        *("_transaction", "_io", "_operation", "_snapshot_id", "_parent_snapshot_id", "_added_data_files"),
        *("_deleted_data_files", "_compression"),
        *("_written_manifests", "_uncommitted_manifests", "_written_manifest_lists"),
    }
    source = inspect.getsource(_SnapshotProducer) + inspect.getsource(UpdateTableMetadata)
    assert {name for name in used if f"self.{name} = " not in source and f"self.{name}: " not in source} == set()
    assert "self._table = table" in inspect.getsource(Transaction)
    assert "self._session = " in inspect.getsource(RestCatalog)
    assert isinstance(vars(ManifestWriterV2)["_meta"], property)


def test_added_files_are_listed_and_counted_by_the_specs_of_the_transaction() -> None:
    """Ours answers with the one that they were written by, which may not be the table's default any more."""
    assert "spec=self._transaction.table_metadata.spec()" in inspect.getsource(vars(_SnapshotProducer)["_manifests"])
    counted = inspect.getsource(vars(_SnapshotProducer)["_summary"])
    assert "table_metadata = self._transaction.table_metadata" in counted
    assert "default_spec = table_metadata.spec()" in counted


def test_a_ref_to_a_snapshot_that_is_gone_is_refused_in_the_words_that_we_look_for() -> None:
    assert 'raise ValueError(f"Cannot set {update.ref_name} to unknown snapshot' in inspect.getsource(updates)


def test_truth_values_in_a_filter_are_refused_as_we_expect() -> None:
    """`filter.py` tells them from other mistakes by the kind of error alone."""
    with pytest.raises(ValidationError):
        parse("true and n = 1")


def test_a_restored_file_system_takes_its_options_as_one_argument() -> None:
    """`files.py` makes one again with an option more."""
    made = PyArrowFileIO({"s3.region": "eu-central-1"})._initialize_s3_fs("lake")  # noqa: SLF001  (what is tested)
    _, (options,) = made.__reduce__()
    assert "allow_delayed_open" in options


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
        (_get_file_format, ["file_format", "kwargs"]),
        (_referenced_data_file_path, ["delete_file"]),
        (DeleteFileIndex.add_delete_file, ["self", "manifest_entry", "partition_key"]),
        (DeleteFileIndex.for_data_file, ["self", "seq_num", "data_file", "partition_key"]),
        (Transaction._apply, ["self", "updates", "requirements"]),  # noqa: SLF001  (what the test is about)
        (_InclusiveMetricsEvaluator, ["schema", "expr", "case_sensitive", "include_empty_files"]),
        (_StrictMetricsEvaluator, ["schema", "expr", "case_sensitive", "include_empty_files"]),
        (
            _to_requested_schema,
            [
                *("requested_schema", "file_schema", "batch", "downcast_ns_timestamp_to_us", "include_field_ids"),
                *("projected_missing_fields", "allow_timestamp_tz_mismatch", "format_model"),
            ],
        ),
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
