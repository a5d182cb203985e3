"""`lakehouse ui`: the Dagster UI over the project's state, on loopback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lakehouse.cli.output import err
from lakehouse.settings import Settings, load_settings


def ui() -> None:
    """Open the Dagster UI over the project's tables, runs, schedules and sensors (Ctrl-C ends it)."""
    from lakehouse.orchestration.home import check_port, child_environment
    from lakehouse.orchestration.project import prepare
    from lakehouse.orchestration.warm_runs.start import start

    settings = load_settings()
    check_port(settings.ui.host, settings.ui.port)
    prepare(settings)
    err.print(f"Dagster is starting at http://{settings.ui.host}:{settings.ui.port} (Ctrl-C ends it)")
    command = [str(Path(sys.executable).with_name("dagster")), "dev", *_location(settings)]
    command += ["-h", settings.ui.host, "-p", str(settings.ui.port)]
    os.chdir(settings.project)
    variables = {**os.environ, **child_environment(settings)}
    if settings.ui.warm_runs:
        variables |= start(variables)
    # Not as a child: what is sent to this process, Ctrl-C or a service manager's TERM, must reach Dagster itself.
    os.execve(command[0], command, variables)  # noqa: S606  (our own words)


def _location(settings: Settings) -> list[str]:
    workspace = settings.project / "workspace.yaml"
    return ["-w", str(workspace)] if workspace.exists() else ["-m", "lakehouse.definitions"]
