"""Objects in a folder or on S3: listing, reading, and the one way to write a path.

A store on S3 (`s3.py`) takes its client from outside (`boto3`); `open.py` alone knows settings and servers. Both are
imported by their own names. Nothing here knows tables or sources.
"""

from lakehouse.storage.folder import FolderStore
from lakehouse.storage.paths import child, from_uri, is_s3, local_path, normalise
from lakehouse.storage.room import UNWRITABLE, make_room, no_room
from lakehouse.storage.store import Deleted, Store, StoredObject

__all__ = [
    "UNWRITABLE",
    "Deleted",
    "FolderStore",
    "Store",
    "StoredObject",
    "child",
    "from_uri",
    "is_s3",
    "local_path",
    "make_room",
    "no_room",
    "normalise",
]
