"""A resource of dlt as a source: tickets of a help desk, those that changed since the last load.

Explained in docs/add-a-source.md. The state of `dlt.sources.incremental` is kept with the rows, as a position.
"""

from collections.abc import Iterator

import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
from dlt.sources.helpers.rest_client.paginators import JSONLinkPaginator


@dlt.resource(primary_key="id")
def tickets(
    base_url: str,
    token: str,
    updated: dlt.sources.incremental[str] = dlt.sources.incremental("updated_at", initial_value="2026-01-01T00:00:00Z"),  # noqa: B008
) -> Iterator[list[dict[str, object]]]:
    """Pages of tickets, from the last one's time of change on."""
    client = RESTClient(base_url, auth=BearerTokenAuth(token), paginator=JSONLinkPaginator(next_url_path="next"))
    yield from client.paginate("/tickets", params={"since": updated.last_value}, data_selector="tickets")
