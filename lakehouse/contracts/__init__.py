"""Data contracts (ODCS): read, held to the standard, compiled to tables and SQL predicates, compared, and written anew.

`read_tables` gives every declared table. No database, catalog or network is asked.
"""

from lakehouse.contracts.failures import failures_query
from lakehouse.contracts.read import Declarations, read_tables
from lakehouse.contracts.template import render_contract

__all__ = ["Declarations", "failures_query", "read_tables", "render_contract"]
