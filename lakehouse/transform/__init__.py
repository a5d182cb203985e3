"""Silver and gold: contracts and SQL models in, audited Iceberg tables out. The only place that knows dbt.

`parse` makes the dbt project ready, `build` runs it on a branch and yields events, `decide` and `publish_models` say what of
it becomes visible. dbt itself is imported in its own process only.
"""

from lakehouse.transform.events import BuildFinished, Event, ModelFinished, Status, TestFinished
from lakehouse.transform.lineage import column_lineage
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.project import parse
from lakehouse.transform.publish import Decision, decide, publish_models
from lakehouse.transform.run import build
from lakehouse.transform.write import write_model

__all__ = [
    "BuildFinished",
    "Decision",
    "Event",
    "Manifest",
    "ModelFinished",
    "Status",
    "TestFinished",
    "build",
    "column_lineage",
    "decide",
    "parse",
    "publish_models",
    "write_model",
]
