"""Which catalog the settings mean, chosen by the scheme of its URI, and how its tables' files are reached.

The catalogs are `sql_catalog.py` and `rest_catalog.py`; a further one (Glue) is a class beside them and a line here.
"""

from __future__ import annotations

from lakehouse.iceberg.catalogs import files
from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.services.endpoints import s3_endpoint
from lakehouse.settings import Settings
from lakehouse.storage.paths import from_uri, is_s3

_CONNECT_S = 5.0


def open_catalog(settings: Settings) -> SafeCatalog:
    """The catalog of the settings. Raises CatalogError when it does not answer."""
    scheme = settings.catalog.uri.get_secret_value().partition("://")[0].lower()
    # Each kind's libraries take a tenth of a second and more to import, which only those who have it pay.
    if scheme in {"http", "https"}:
        from lakehouse.iceberg.catalogs.rest_catalog import open_rest  # noqa: PLC0415

        return open_rest(settings, _file_properties(settings))
    from lakehouse.iceberg.catalogs.sql_catalog import open_sql  # noqa: PLC0415

    return open_sql(settings, _file_properties(settings))


def _file_properties(settings: Settings) -> dict[str, str]:
    """Which class reads and writes files; for S3: region, endpoint (addressed by path), keys and how long to wait."""
    own = {files.PROPERTY: files.CLASS}
    if not is_s3(from_uri(settings.warehouse)):
        return own
    given = s3_endpoint(settings)
    wait = {"s3.connect-timeout": str(min(_CONNECT_S, given.timeout_s)), "s3.request-timeout": str(given.timeout_s)}
    named = {
        "s3.endpoint": given.endpoint,
        "s3.access-key-id": given.access_key and given.access_key.get_secret_value(),
        "s3.secret-access-key": given.secret_key and given.secret_key.get_secret_value(),
    }
    return {**own, **wait, "s3.region": given.region, **{key: value for key, value in named.items() if value}}
