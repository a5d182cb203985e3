"""The Open Data Contract Standard, held to the letter: unknown keys and wrong types are errors.

The models are those of the package `open-data-contract-standard`, which ignore what they do not know; here every key is
checked against them. What a contract means for a table does not belong here (`compile.py`).
"""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import get_args, get_origin

from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lakehouse.contracts.document import Document, Location, Place

API_VERSION = "v3.1.0"
"""The version of the standard that contracts declare; newer optional keys of the package's models are read as well."""


def parse_contract(document: Document) -> OpenDataContractStandard:
    """The document as a contract. Raises ContractError for a wrong version, an unknown key or a wrong type."""
    data = document.data
    if not isinstance(data, dict):
        raise document.top.error("a contract is a mapping", remedy="Begin with `apiVersion: v3.1.0`.")
    for key, expected in (("apiVersion", API_VERSION), ("kind", "DataContract")):
        if data.get(key) != expected:
            raise (document.top / key).error(
                f"{key} must be {expected}",
                expected=expected,
                found=repr(data[key]) if key in data else "nothing",
                remedy=f"Write `{key}: {expected}`.",
            )
    _check_keys(OpenDataContractStandard, data, document.top)
    try:
        contract = OpenDataContractStandard.model_validate(data, strict=True)
    except ValidationError as error:
        raise _wrong_type(document, error) from error
    for key in ("id", "version"):
        if not data.get(key):
            raise document.top.error(f"missing {key}", remedy=f"Add the key `{key}`; the standard asks for it.")
    return contract


def _check_keys(annotation: object, value: object, place: Place) -> None:
    """Refuse keys of mappings that the annotated models do not have, at any depth."""
    if isinstance(value, list):
        for option in _options(annotation):
            if get_origin(option) is list:
                for position, item in enumerate(value):
                    _check_keys(get_args(option)[0], item, place / position)
    elif isinstance(value, dict):
        for option in _options(annotation):
            if isinstance(option, type) and issubclass(option, BaseModel):
                fields = _fields(option)
                for key, inner in value.items():
                    if key not in fields:
                        raise (place / key).unknown("key", key, sorted(fields))
                    _check_keys(fields[key].annotation, inner, place / key)


def _options(annotation: object) -> tuple[object, ...]:
    """The types that a union allows, without None; anything else alone."""
    if get_origin(annotation) in {None, list, dict}:
        return (annotation,)
    return tuple(one for one in get_args(annotation) if one is not NoneType)


@cache
def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _wrong_type(document: Document, error: ValidationError) -> Exception:
    """The error at the deepest value that pydantic refused."""
    located = [(_location(document.data, one["loc"]), one) for one in error.errors(include_url=False)]
    at, found = max(located, key=lambda pair: len(pair[0]))
    name = next((str(part) for part in reversed(at) if isinstance(part, str)), "the contract")
    return Place(document, at).error(
        f"wrong type of {name}",
        expected=found["msg"].removeprefix("Input should be ").removeprefix("a valid "),
        found=repr(found["input"])[:80],
        remedy="Write a value of that type (quote text that YAML reads as a number).",
    )


def _location(data: object, loc: tuple[int | str, ...]) -> Location:
    """A pydantic location without the names of union members, which are not in the data."""
    at: list[int | str] = []
    for part in loc:
        inner = _inside(data, part)
        if inner is not None:
            data = inner
            at.append(part)
    return tuple(at)


def _inside(data: object, part: int | str) -> object:
    """What a mapping or list holds under a key or position; None for nothing."""
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return None
