"""A contract's columns, partitions and sort order as Iceberg's, and existing tables brought along.

Rows are brought to a schema by `parquet/`.
"""
