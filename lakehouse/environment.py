"""The variables of this process: lent to libraries that read nothing else, and handed on to other processes.

What our own settings are read from, the environment too, is `settings/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables that libraries read from nowhere else, and put back what was there before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def environment() -> Mapping[str, str]:
    """The variables of this process as they are now, for a process that is to have the same."""
    return dict(os.environ)


def take_environment(variables: Mapping[str, str]) -> None:
    """Make these the variables of this process, and no others."""
    os.environ.clear()
    os.environ.update(variables)
