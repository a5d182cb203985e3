"""Rows to verified Parquet files, in bounded memory. The files belong to no snapshot yet: that is `commits/`."""
