"""A REST catalog answers as bad servers do, before it acted or after: rows are there once, and no reader notices.

`bench.proxy` answers whole requests. After each fault the same run key runs again on the straight way: what landed must
be recognised, what did not must be written.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pyiceberg.catalog.rest import RestCatalog

from bench.proxy import HONEST, Fault, Proxy, Request
from lakehouse.errors import BranchMissing, CommitConflict
from lakehouse.iceberg import LakeTable
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from conftest import Load

pytestmark = pytest.mark.services

Place = Callable[[str, str], Settings]
Begin = Callable[[Settings], "Load"]
TIMEOUT_S = 5


def commits_to(table: LakeTable) -> Callable[[Request], bool]:
    return lambda request: request.method == "POST" and request.path.endswith(f"/tables/{table.name.table}")


def once(fault: Fault, chosen: Callable[[Request], bool]) -> Callable[[Request], Fault]:
    """A judge that strikes the first request that is chosen."""
    struck = threading.Event()

    def judge(request: Request) -> Fault:
        if struck.is_set() or not chosen(request):
            return HONEST
        struck.set()
        return fault

    return judge


# name: what is done to the commit, whether it lands, whether the writer hears of a success.
ANSWERS = {
    "500-before": (Fault(deliveries=0, status=500), False, False),
    "500-after": (Fault(status=500), True, True),
    "502-after": (Fault(status=502), True, True),
    "503-before": (Fault(deliveries=0, status=503), False, False),
    "503-after": (Fault(status=503), True, True),
    "409-before": (Fault(deliveries=0, status=409), True, True),
    "409-after": (Fault(status=409), True, True),
    "400-before": (Fault(deliveries=0, status=400), False, False),
    "posted-twice": (Fault(deliveries=2), True, True),
    "silence-before": (Fault(deliveries=0, silent=True), False, False),
    "silence-after": (Fault(silent=True), True, True),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_rest_catalog_may_answer_what_it_likes(place: Place, begin: Begin, answer: str) -> None:
    straight = place("rest", "folder")
    load = begin(straight)
    table = load.table
    fault, lands, success = ANSWERS[answer]
    with Proxy(straight.catalog.uri.get_secret_value()) as proxy, load.watched():
        bent = load.bent(load.over(proxy.url, TIMEOUT_S))
        proxy.judge = once(fault, commits_to(table))
        heard = load.tried(bent)
        assert (heard is not None) is success
        if heard is not None:
            assert heard.rows_added == 2
        assert len(table.snapshots()) == 1 + lands
        load.settle(landed=lands)


@pytest.mark.parametrize("fault", [Fault(status=409), Fault(status=500), Fault(silent=True)], ids=str)
def test_every_step_of_a_publish_may_lose_its_answer(place: Place, begin: Begin, fault: Fault) -> None:
    straight = place("rest", "folder")
    load = begin(straight)
    table = load.table
    with Proxy(straight.catalog.uri.get_secret_value()) as proxy:
        bent = load.bent(load.over(proxy.url, TIMEOUT_S))
        proxy.judge = lambda request: fault if commits_to(table)(request) else HONEST
        bent.create_branch("run/a")
        bent.append(load.rows, run_key="a", branch="run/a", progress={"shop": {"w": 1}})
        assert table.stats().rows == 1
        assert bent.publish("run/a").rows_added == 2
    assert table.branches() == ()
    load.settle(landed=True)


def test_a_conflict_that_never_ends_is_given_up_and_deletes_nothing_that_lives(place: Place, begin: Begin) -> None:
    straight = place("rest", "folder")
    load = begin(straight)
    table = load.table
    uri = straight.catalog.uri.get_secret_value()
    with RestCatalog("foreign", uri=uri).load_table(table.name.key).transaction() as change:
        change.set_properties({"commit.retry.total-timeout-ms": "1000"})
    with Proxy(uri) as proxy:
        bent = load.bent(load.over(proxy.url, TIMEOUT_S))
        proxy.judge = lambda request: Fault(deliveries=0, status=409) if commits_to(table)(request) else HONEST
        with pytest.raises(CommitConflict):
            bent.append(load.rows, run_key="a", progress={"shop": {"w": 1}})
    load.settle(landed=False)


def test_a_server_that_loses_branches_is_found_out_before_anything_is_written_to_one(
    place: Place, begin: Begin
) -> None:
    straight = place("rest", "folder")
    load = begin(straight)
    table = load.table

    def lose_branches(request: Request, body: bytes) -> bytes:
        if not commits_to(table)(request):
            return body
        asked: dict[str, Any] = json.loads(body)
        asked["updates"] = [update for update in asked["updates"] if update.get("ref-name", "main") == "main"]
        asked["requirements"] = [need for need in asked["requirements"] if need.get("ref", "main") == "main"]
        return json.dumps(asked).encode()

    with Proxy(straight.catalog.uri.get_secret_value()) as proxy:
        proxy.rewrite = lose_branches
        bent = load.bent(load.over(proxy.url, TIMEOUT_S))
        with pytest.raises(BranchMissing, match="run/a"):
            bent.create_branch("run/a")
        with pytest.raises(BranchMissing, match="run/a"):
            bent.append(load.rows, run_key="a", branch="run/a")
    load.settle(landed=False)
