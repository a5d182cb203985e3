"""A Dagster asset-based lakehouse: bronze, silver and gold Apache Iceberg tables, one file per table.

The package is a library; a project is a folder with `defs/`, `dbt/` and a `[tool.lakehouse]` section.
`docs/architecture.md` shows the rooms of this house. Nothing is imported here: `import lakehouse` costs nothing.
"""
