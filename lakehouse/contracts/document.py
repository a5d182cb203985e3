"""A YAML file as data that remembers where it stands, so that every error can name file and line.

YAML is read as JSON would be: `yes`, `on`, `1:30`, `010` and `2026-01-01` stay text, keys are text and come once.
What the keys mean does not belong here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import yaml

from lakehouse.errors import ContractError

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
PLAIN_EXPONENT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+")
"""Numbers that JSON and YAML 1.2 know and PyYAML takes for text: 1e-7."""
_WORD = re.compile(r"[\w-]+")
_TEXT_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}

Location = tuple[str | int, ...]
"""Keys and positions from the top of a document to a value."""


@dataclass(frozen=True)
class Document:
    """One parsed file: plain data, and the nodes that know its lines."""

    path: Path
    data: object
    node: yaml.Node = field(repr=False, compare=False)

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a file. Raises ContractError when it is not UTF-8, not YAML, empty, or says a key twice."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(
                f"{path}:1: the file cannot be read", found=str(error), remedy="Save it as UTF-8 text."
            ) from error
        return cls.parse(path, text)

    @classmethod
    def parse(cls, path: Path, text: str) -> Document:
        """Read the text of a file. Raises ContractError as `read` does."""
        try:
            node = yaml.compose(text, Loader=_LOADER)
        except yaml.YAMLError as error:
            raise _invalid(path, text, error) from error
        if node is None:
            raise ContractError(f"{path}:1: the file is empty", remedy="Write a data contract, or remove the file.")
        return cls(path, _build(path, node, ()), node)

    @property
    def top(self) -> Place:
        """The place of the whole document."""
        return Place(self, ())

    def line(self, at: Location) -> int:
        """The line, from 1, of the key or item at a location; of the nearest one above when there is none."""
        node, line = self.node, self.node.start_mark.line
        for part in at:
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == part), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line
            else:
                break
        return int(line) + 1


@dataclass(frozen=True)
class Place:
    """A location in a document: `place / "schema" / 0` goes down, `place.error(...)` makes an error that names it."""

    document: Document
    at: Location

    def __truediv__(self, part: str | int) -> Place:
        return Place(self.document, (*self.at, part))

    def __str__(self) -> str:
        return f"{self.document.path}:{self.document.line(self.at)}"

    @property
    def path(self) -> str:
        """The way down from the top, as people write it: `schema[0].properties[3].name`; empty at the top."""
        return "".join(map(_step, self.at)).removeprefix(".")

    def error(
        self, problem: str, *, expected: str | None = None, found: str | None = None, remedy: str
    ) -> ContractError:
        """A ContractError whose `what` is `file:line: path: problem`, without a path at the top."""
        where = f"{self}: {self.path}" if self.at else str(self)
        return ContractError(f"{where}: {problem}", expected=expected, found=found, remedy=remedy)

    def unknown(self, kind: str, name: object, known: Sequence[str]) -> ContractError:
        """The error for a name that is none of the known ones; names the nearest."""
        nearest = get_close_matches(str(name), known, n=1, cutoff=0.5)
        listed = ", ".join(known) or "none"
        remedy = f"Did you mean {nearest[0]!r}?" if nearest else "Write one of these, or remove it."
        return self.error(f"unknown {kind} {str(name)!r}", expected=f"one of {listed}", remedy=remedy)


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _WORD.fullmatch(part) else f"[{json.dumps(part, ensure_ascii=False)}]"


def _invalid(path: Path, text: str, error: yaml.YAMLError) -> ContractError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    return ContractError(
        f"{path}:{line}: invalid YAML", found=str(problem).removeprefix("found "), remedy="Mend the YAML at this line."
    )


def _build(path: Path, node: yaml.Node, above: tuple[yaml.Node, ...]) -> object:
    """Data of a node. Raises ContractError for what JSON has no word for."""
    if any(node is one for one in above):
        raise _refuse(path, node, "an alias holds itself")
    if isinstance(node, yaml.ScalarNode):
        return _scalar(path, node)
    if isinstance(node, yaml.SequenceNode):
        return [_build(path, item, (*above, node)) for item in node.value]
    result: dict[str, object] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            raise _refuse(path, key, "a key must be a word")
        if key.value in result:
            raise _refuse(path, key, f"the key {key.value!r} is stated twice")
        result[key.value] = _build(path, value, (*above, node))
    return result


def _scalar(path: Path, node: yaml.ScalarNode) -> object:
    text: str = node.value
    match node.tag.removeprefix("tag:yaml.org,2002:"):
        case _ if node.tag in _TEXT_TAGS:
            return float(text) if not node.style and PLAIN_EXPONENT.fullmatch(text) else text
        case "null":
            return None
        case "bool":
            return {"true": True, "false": False}.get(text.lower(), text)
        case "int":
            return int(text) if _INTEGER.fullmatch(text) else text
        case "float":
            return float(text) if _FLOAT.fullmatch(text) else text
        case tag:
            raise _refuse(path, node, f"the YAML tag {tag!r} has no place in a contract")


def _refuse(path: Path, node: yaml.Node, problem: str) -> ContractError:
    return ContractError(f"{path}:{node.start_mark.line + 1}: {problem}", remedy="State it as plain YAML, once.")
