"""`python -m lakehouse`: the `lakehouse` command; in a bare checkout it first makes `.venv` and runs from there."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from lakehouse.bootstrap import main as bootstrap

if __name__ == "__main__":
    if importlib.util.find_spec("typer") is None:
        sys.exit(subprocess.run([bootstrap(), "-m", "lakehouse", *sys.argv[1:]], check=False).returncode)  # noqa: S603
    from lakehouse.cli import main

    main()
