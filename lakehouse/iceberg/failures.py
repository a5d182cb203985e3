"""What drivers, disks and PyIceberg raise, as errors of ours.

Conflicts between writers are decided where they arise (`commit.py`, `branch.py`), not here.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from pyiceberg.exceptions import NoSuchTableError, RESTError
from sqlalchemy.exc import SQLAlchemyError

from lakehouse.errors import CatalogError, LakehouseError, StateError, TableMissing

_UNWRITABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow that large",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.ENOTDIR: "a file is in the place of a folder",
}


@contextmanager
def catalog_errors(doing: str) -> Iterator[None]:
    """Turn what SQLAlchemy, a REST catalog and the storage raise into CatalogError, TableMissing and StateError.

    `doing` ends the message, e.g. "writing silver.orders".
    """
    try:
        yield
    except LakehouseError:
        raise
    except NoSuchTableError as error:
        raise TableMissing(
            f"the table is not there when {doing}", found=str(error), remedy="Load or build it first."
        ) from None
    except (SQLAlchemyError, RESTError, ValidationError) as error:
        raise _catalog_failed(doing, error) from error
    except OSError as error:
        if _of_requests(error):
            raise _catalog_failed(doing, error) from error
        said = _UNWRITABLE.get(error.errno or 0)
        if said is None:
            raise CatalogError(
                f"the warehouse failed while {doing}", found=str(error), remedy="Check the storage and run again."
            ) from error
        raise StateError(
            f"{said} while {doing}", found=str(error), remedy="Make room or mend the rights, then run again."
        ) from error


def _catalog_failed(doing: str, error: Exception) -> CatalogError:
    return CatalogError(
        f"the catalog failed while {doing}",
        found=reason_of(error),
        remedy="Check that the catalog runs, and run again: what landed is recognised by its run key.",
    )


def _of_requests(error: OSError) -> bool:
    """Whether a REST catalog's HTTP client raised it: never the warehouse, which is read through Arrow."""
    # Whoever has such a catalog has imported the client; nobody else need wait for it.
    client = sys.modules.get("requests")
    return client is not None and isinstance(error, client.RequestException)


def unreachable(error: Exception) -> CatalogError:
    """What to say when a catalog cannot even be opened."""
    return CatalogError(
        "the catalog does not answer",
        found=reason_of(error),
        remedy="Check LAKEHOUSE_CATALOG__URI and that the catalog runs (`lakehouse service status`).",
    )


def reason_of(error: Exception) -> str:
    """What the driver said, without SQLAlchemy's copy of the statement and its parameters."""
    said = getattr(error, "orig", None) or error
    return str(said).splitlines()[0] if str(said) else type(said).__name__
