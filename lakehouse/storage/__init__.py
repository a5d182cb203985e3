"""Objects in a folder or on S3: listing, reading, and the one way to write a path.

A store on S3 takes its client from outside (`boto3`); `open.py` alone knows settings and servers, and is imported by
its own name. Nothing here knows tables or sources.
"""

from lakehouse.storage.folder import FolderStore
from lakehouse.storage.paths import child, from_uri, is_s3, local_path, normalise
from lakehouse.storage.room import UNWRITABLE, make_room, no_room
from lakehouse.storage.s3 import S3Store
from lakehouse.storage.store import Deleted, Store, StoredObject

__all__ = [
    "UNWRITABLE",
    "Deleted",
    "FolderStore",
    "S3Store",
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
