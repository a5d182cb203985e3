"""The `lakehouse` command, thin: read arguments, call the layers below, print. Exit 0 well, 1 findings, 2 error.

What a command does belongs below; how an error looks belongs in `main`.
"""

from __future__ import annotations

import logging
import sys


def main() -> None:
    """Run the command line. An error of ours is one clear sentence and exit code 2, never a stack trace."""
    from lakehouse.cli.app import app
    from lakehouse.cli.output import show_error
    from lakehouse.errors import LakehouseError
    from lakehouse.storage import UNWRITABLE, no_room
    from lakehouse.telemetry import configure_logs

    # What a command has to say it prints; the log is for what it did not expect.
    configure_logs(json=False, level=logging.WARNING)
    try:
        app()
    except LakehouseError as error:
        show_error(error)
        sys.exit(2)
    except OSError as error:
        # A disk may fill under any file that a command writes; whatever else the system refuses is a mistake of ours.
        if error.errno not in UNWRITABLE or isinstance(error, ConnectionError):
            raise
        show_error(no_room(error))
        sys.exit(2)


__all__ = ["main"]
