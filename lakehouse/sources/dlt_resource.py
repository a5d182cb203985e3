"""Rows from a resource of dlt, which has connectors for what we have none for; the extra `dlt` installs it.

A source of the settings with the kind `lakehouse.sources.dlt_resource:DltReader`. Its options: `function`, the
`package.module:function` that makes a dlt resource or source, and `arguments` for it; its secrets are arguments too.
Load option: `resource`, the name of the one wanted, where the function makes several. Rows come to our door as dlt
extracts them, nested values as JSON. The position is dlt's own state, `{"dlt": {...}}`. dlt knows it after the last row
only, so that an increment waits in a file until then.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from itertools import islice
from typing import IO, Any, cast

from lakehouse.errors import LakehouseError, SettingsError, SourceError, SourceUnreachable
from lakehouse.settings import OwnSource, Settings
from lakehouse.sources.json_lines import objects
from lakehouse.sources.json_text import parse
from lakehouse.sources.options import Options
from lakehouse.sources.reader import Chunk, Extract, SourceColumn
from lakehouse.tables import Position, Table

_ROWS = 10_000


class DltReader:
    """Reads one dlt resource."""

    def __init__(self, settings: Settings, source: OwnSource, table: Table) -> None:
        options = Options.of(table, known={"resource"})
        self._name, self._wanted = options.policy.source, options.optional("resource")
        self._source, self._tmp = source, settings.state / "tmp"

    def read(self, since: Position | None) -> Extract | None:
        """What dlt extracts from its state of last time, up to its end; None if that is nothing. Raises SourceError."""
        from dlt.common import json as dlt_json  # noqa: PLC0415  (an extra, and heavy)

        self._tmp.mkdir(parents=True, exist_ok=True)
        waiting = tempfile.TemporaryFile(dir=self._tmp)  # noqa: SIM115  (the chunks close it)
        chunks = self._chunks(waiting)
        # From here on the generator closes the file, also if nobody reads on.
        next(chunks)
        count = 0
        with self._extracting(since) as (records, state):
            for record in records:
                waiting.write(dlt_json.dumpb(record) + b"\n")
                count += 1
        if not count:
            chunks.close()
            return None
        return Extract(chunks, {"dlt": json.loads(dlt_json.typed_dumps(state))}, count)

    def pending(self, since: Position | None) -> bool:
        """Whether dlt extracts anything: the first row is asked for, and no second."""
        with self._extracting(since) as (records, _):
            return next(records, None) is not None

    def columns(self) -> tuple[SourceColumn, ...]:
        """Nothing: dlt learns of columns from rows, as the door does."""
        return ()

    def _chunks(self, waiting: IO[bytes]) -> Generator[Chunk, None, None]:
        # Records of an API have no place of their own: one is known by what it says.
        place = f"{self._name}:{self._wanted}" if self._wanted else self._name
        with waiting:
            yield objects((), None)
            waiting.seek(0)
            while lines := list(islice(waiting, _ROWS)):
                yield objects(((parse(line.decode()), place) for line in lines), None)

    @contextmanager
    def _extracting(self, since: Position | None) -> Iterator[tuple[Iterator[object], dict[str, Any]]]:
        """The resource's records, and dlt's state, which changes as they are read."""
        from dlt.common import json as dlt_json  # noqa: PLC0415  (as above)
        from dlt.common.configuration.container import Container  # noqa: PLC0415
        from dlt.common.pipeline import StateInjectableContext  # noqa: PLC0415

        state: dict[str, Any] = dlt_json.typed_loads(json.dumps(since["dlt"])) if since else {}
        try:
            injected = Container().injectable_context(StateInjectableContext(state=cast("Any", state)))
            with injected, closing(iter(self._resource())) as items:
                yield _records(items), state
        except LakehouseError:
            raise
        except Exception as error:
            cause = _root(error)
            raise (SourceUnreachable if isinstance(cause, OSError) else SourceError)(
                f"source {self._name!r}: dlt cannot extract {self._wanted or self._source.options.get('function')}",
                found=f"{type(cause).__name__}: {cause}"[:500],
                remedy="Mend the resource or its arguments, and load again.",
            ) from error

    def _resource(self) -> Any:  # noqa: ANN401  (dlt ships types, but is not installed everywhere)
        module, _, name = str(self._source.options.get("function", "")).partition(":")
        try:
            function = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise SettingsError(
                f"source {self._name!r} names no dlt resource",
                expected="options = {function = 'package.module:function'}",
                found=f"{module}:{name} ({error})",
                remedy=f"Mend [tool.lakehouse.sources.{self._name}].",
            ) from error
        secrets = {key: secret.get_secret_value() for key, secret in self._source.secrets.items()}
        made = function(**self._source.options.get("arguments", {}), **secrets)
        return made if self._wanted is None or not hasattr(made, "resources") else made.resources[self._wanted]


def _records(items: Iterator[object]) -> Iterator[object]:
    """One by one, also where dlt yields Arrow tables."""
    for item in items:
        yield from item.to_pylist() if hasattr(item, "to_pylist") else (item,)


def _root(error: BaseException) -> BaseException:
    """What was at fault first."""
    return error if error.__cause__ is None else _root(error.__cause__)
