"""We use PyIceberg's internals: on any other version these fail before a table is harmed."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Transaction
from pyiceberg.table.update.snapshot import _FastAppendFiles, _OverwriteFiles, _SnapshotProducer
from pyiceberg.typedef import Record


def test_the_version_is_the_one_whose_internals_were_read() -> None:
    assert version("pyiceberg") == "0.12.0", "read pyiceberg.table.update.snapshot again, then change this number"


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [
        (_SnapshotProducer, "_commit", ["self"]),
        (_SnapshotProducer, "_refresh_for_retry", ["self"]),
        (_SnapshotProducer, "_validate_concurrency", ["self"]),
        (_SnapshotProducer, "_summary", ["self", "snapshot_properties"]),
        (_OverwriteFiles, "_deleted_entries", ["self"]),
        (_OverwriteFiles, "_validate_required_deletes", ["self", "deleted_entries"]),
        (_FastAppendFiles, "_existing_manifests", ["self"]),
        (Transaction, "_rebuild_snapshot_updates", ["self"]),
        (SqlCatalog, "commit_table", ["self", "table", "requirements", "updates"]),
    ],
)
def test_overridden_methods_have_the_shape_that_we_override(owner: type, method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters


def test_a_retry_runs_commit_anew_and_drops_refs() -> None:
    source = inspect.getsource(vars(Transaction)["_rebuild_snapshot_updates"])
    assert "producer._commit()" in source
    assert "SetSnapshotRefUpdate" in source


def test_cleanup_of_manifests_follows_only_the_two_known_refusals() -> None:
    assert "except (CommitFailedException, ValidationException):" in inspect.getsource(Transaction.commit_transaction)


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
