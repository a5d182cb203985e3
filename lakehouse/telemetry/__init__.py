"""Logs and progress (later metrics): one format, with run id, asset and run key bound to every line.

What is logged, and when, is said where it happens.
"""

from lakehouse.telemetry.logs import bound, configure_logs, run_logs
from lakehouse.telemetry.progress import Meter, Progress, listening, report

__all__ = ["Meter", "Progress", "bound", "configure_logs", "listening", "report", "run_logs"]
