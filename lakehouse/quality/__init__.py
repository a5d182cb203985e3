"""The quality gate: rules of contracts, run by Great Expectations on DuckDB against what is about to be published.

`Gate` judges tables and gives Findings. Great Expectations is imported when the first table is judged, not before.
What is published, and who is told, is decided above (`transform/`, `ingest/`, `orchestration/`).
"""

from lakehouse.quality.finding import Finding, Outcome, Sample
from lakehouse.quality.gate import Gate
from lakehouse.quality.judged import Judged

__all__ = ["Finding", "Gate", "Judged", "Outcome", "Sample"]
