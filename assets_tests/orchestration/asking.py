"""A chain on a real lake, a Dagster instance beside it, and the sensor `changes` ticking over both."""

# No postponed annotations here: Dagster reads the annotation of `context` and knows the class only, not its name.

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import dagster as dg

from assets_tests.changes.conftest import GOLD, ORDERS, PAID, PAYMENTS, SILVER, Chain
from lakehouse.orchestration.changes import change_assets, changes_sensor
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.specs import table_key, table_spec
from lakehouse.tables import Table
from lakehouse.transform.manifest import Manifest, Model

JOBS = {"test_bronze": frozenset({ORDERS.name, PAYMENTS.name, PAID.name}), "test_upkeep": frozenset()}
Asks = dict[str, list[int]]


def node(table: Table, *parents: Table) -> Model:
    kind = "iceberg" if parents else "source"
    above = tuple(str(parent.name) for parent in parents)
    return Model(str(table.name), table.name.layer.value, table.name.table, kind, "", "", "", above)


def graph_of(chain: Chain) -> ModelGraph:
    models = [node(ORDERS), node(PAYMENTS), node(SILVER, ORDERS), node(PAID, PAYMENTS), node(GOLD, SILVER, PAID)]
    return ModelGraph(Manifest({model.unique_id: model for model in models}, {}), chain.declarations)


def definitions(chain: Chain, during: Callable[[], object]) -> dg.Definitions:
    """The chain's tables as assets whose runs do what is done `during` them, or fail when a tag says so."""
    graph = graph_of(chain)

    def asset(tables: Iterable[Table], days: dg.PartitionsDefinition[str] | None) -> dg.AssetsDefinition:
        specs = [table_spec(table, map(table_key, graph.parents.get(table.name, ())), kind="dbt") for table in tables]

        @dg.multi_asset(name=f"of_{len(specs)}_{days is None}", specs=specs, partitions_def=days, can_subset=True)
        def made(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
            if context.run.tags.get("broken"):
                raise dg.Failure("it is broken", allow_retries=False)
            during()
            for spec in specs:
                if spec.key in context.selected_asset_keys:
                    yield dg.MaterializeResult(asset_key=spec.key)

        return made

    days = table_spec(SILVER, (), kind="dbt").partitions_def
    return dg.Definitions(
        assets=[*change_assets(chain.declarations), asset([ORDERS, PAYMENTS, PAID], None), asset([SILVER, GOLD], days)],
        jobs=[dg.define_asset_job("test_upkeep", dg.AssetSelection.assets(table_key(ORDERS.name)))],
        executor=dg.in_process_executor,
    )


@dataclass
class Asking:
    """The sensor and what it remembers; `requests` are the runs that it asked for, `during` happens in each run."""

    chain: Chain
    instance: dg.DagsterInstance
    cursor: str | None = None
    said: str = ""
    requests: list[dg.RunRequest] = field(default_factory=list)
    events: list[dg.AssetMaterialization] = field(default_factory=list)
    during: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self.defs = definitions(self.chain, self._happen)

    def tick(self) -> Asks:
        """One tick: the days of January that are told, by table, and under "run" the undated tables of a run."""
        sensor = changes_sensor(self.chain.settings, graph_of(self.chain), JOBS)
        repository = self.defs.get_repository_def()
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, repository_def=repository)
        told = sensor.evaluate_tick(context)
        self.cursor, self.said = told.cursor, told.skip_message or ""
        found: Asks = {}
        self.events = [event for event in told.asset_events if isinstance(event, dg.AssetMaterialization)]
        for event in self.events:
            self.instance.report_runless_asset_event(event)
            found.setdefault(".".join(event.asset_key.path[1:]), []).append(int((event.partition or "")[-2:]))
        for request in told.run_requests or ():
            self.requests.append(request)
            found["run " + " ".join(sorted(".".join(key.path) for key in request.asset_selection or ()))] = []
        return found

    def run(self, *tables: Table, days: tuple[int, int] | None = None, broken: bool = False) -> str:
        """A run that ends, of days of January; its id."""
        tags = {"broken": "yes"} if broken else {}
        return (
            self._job()
            .execute_in_process(
                instance=self.instance,
                asset_selection=[table_key(table.name) for table in tables],
                tags={**tags, **range_tags(days)},
                raise_on_error=False,
            )
            .run_id
        )

    def begin(
        self,
        *tables: Table,
        days: tuple[int, int] | None = None,
        status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
    ) -> dg.DagsterRun:
        """A run of somebody else's, in the state that is given."""
        keys = {table_key(table.name) for table in tables}
        return self.instance.create_run_for_job(
            self._job().get_subset(asset_selection=keys),
            asset_selection=frozenset(keys),
            tags=range_tags(days),
            status=status,
        )

    def pass_time(self, seconds: float) -> None:
        """As if everything that was asked had been asked so long ago."""
        told = json.loads(self.cursor or "{}")
        told["asks"] = [[*entry[:4], entry[4] - seconds, entry[5]] for entry in told["asks"]]
        told["waiting"] = told["waiting"] and told["waiting"] - seconds
        self.cursor = json.dumps(told)

    def _happen(self) -> None:
        self.during()

    def _job(self) -> dg.JobDefinition:
        return self.defs.resolve_implicit_global_asset_job_def()


def range_tags(days: tuple[int, int] | None) -> dict[str, str]:
    if days is None:
        return {}
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return {name: f"2026-01-{number:02}" for name, number in zip(names, days, strict=True)}
