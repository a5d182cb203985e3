"""Silver and gold: contracts and SQL models in, audited Iceberg tables out. The only package that knows dbt.

`project.parse` makes the dbt project ready, `run.build` runs it on a branch and yields events, `publish` says what of
it becomes visible. Import these modules directly: dbt and sqlglot cost seconds, and not every caller needs them.
"""
