"""The catalog behind Iceberg's REST protocol, with bounded waiting.

What all catalogs do alike is `safe.py`. A REST server decides where tables lie: that is not compared with the settings.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr, ValidationError
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, OAuthError, RESTError
from pyiceberg.table import CommitTableResponse
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID, TableRequirement, TableUpdate
from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3.util.retry import Retry

from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.iceberg.catalogs.views import RestViews
from lakehouse.iceberg.failures import unreachable
from lakehouse.settings import Settings

_CONNECT_S = 5.0
_TIMEOUT = "lakehouse.timeout-s"
# What only asks may be asked again; what changes something is asked once, and then looked for.
_RETRIES = Retry(
    total=2,
    backoff_factor=0.1,
    backoff_jitter=0.1,
    status_forcelist=(502, 503, 504),
    allowed_methods=("GET", "HEAD"),
    raise_on_status=False,
)


class RestLakeCatalog(SafeCatalog, RestCatalog):
    """A REST catalog.

    A call waits at most 5 s for a connection and `catalog.timeout_s` for an answer; a question is asked three times at
    most, a change once.
    """

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        # Nobody has to close a lake: its connections go with it, or with the process.
        weakref.finalize(self, self._session.close)

    @property
    def views(self) -> RestViews:
        """In properties of namespaces; `views.py` says why."""
        return RestViews(self)

    def swap(
        self, table: IcebergTable, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """One POST, never repeated: the server may have acted before its answer was lost."""
        answer: CommitTableResponse = RestCatalog.commit_table(self, table, requirements, updates)
        return answer

    def as_planned(self, metadata: TableMetadata) -> tuple[TableRequirement, ...]:
        """Each ref stands where it stood: the protocol has no way to say that there is no other."""
        refs = (AssertRefSnapshotId(ref=name, snapshot_id=ref.snapshot_id) for name, ref in metadata.refs.items())
        return (AssertTableUUID(uuid=metadata.table_uuid), *refs)

    @property
    def sees_new_refs(self) -> bool:
        """It does not."""
        return False

    def metadata_files(self) -> Mapping[tuple[str, ...], str | None]:
        """The tables: the protocol tells of a metadata file only with all that is in it."""
        found: dict[tuple[str, ...], str | None] = {}
        waiting = [tuple(namespace) for namespace in self.list_namespaces()]
        while waiting:
            namespace = waiting.pop()
            try:
                waiting += (tuple(below) for below in self.list_namespaces(namespace))
                found |= dict.fromkeys(map(tuple, self.list_tables(namespace)))
            except NoSuchNamespaceError:
                # Dropped while we looked.
                continue
        return found

    def _create_session(self) -> Session:
        session = super()._create_session()
        patience = _Patience(float(self.properties[_TIMEOUT]))
        for scheme in ("http://", "https://"):
            session.mount(scheme, patience)
        return session


class _Patience(HTTPAdapter):
    """Waits for every answer, but not for ever: by itself `requests` would."""

    def __init__(self, read_s: float) -> None:
        self._read_s = read_s
        super().__init__(max_retries=_RETRIES)

    @override
    def send(self, request: PreparedRequest, *words: Any, **named: Any) -> Response:
        """The answer. Raises what `requests` raises, a timeout among it."""
        named["timeout"] = named.get("timeout") or (min(_CONNECT_S, self._read_s), self._read_s)
        return super().send(request, *words, **named)


def open_rest(settings: Settings, properties: dict[str, str]) -> RestLakeCatalog:
    """The REST catalog of the settings. Raises CatalogError when it does not answer, or refuses us."""
    given = settings.catalog
    uri = given.uri.get_secret_value().rstrip("/")
    wanted: dict[str, str | SecretStr | None] = {
        **properties,
        "uri": uri,
        "warehouse": given.warehouse,
        "token": given.token,
        "credential": given.credential,
        "oauth2-server-uri": f"{uri}/v1/oauth/tokens" if given.credential else None,
        _TIMEOUT: str(given.timeout_s),
    }
    try:
        return RestLakeCatalog(given.name, **{key: _plain(value) for key, value in wanted.items() if value is not None})
    except (RequestException, RESTError, OAuthError, ValidationError) as error:
        raise unreachable(error) from None


def _plain(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
