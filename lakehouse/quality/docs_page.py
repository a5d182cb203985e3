"""One validation as a page of data docs: Great Expectations' own rendering, in a frame that needs no network.

Their frame takes styles and scripts from servers of others; ours is `docs_site/validation.j2`, and the sections in it
are theirs. Importing this module imports Great Expectations. Where pages are kept, and for how long, is `docs.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from html import escape
from pathlib import Path
from typing import Any

from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.render.components import RenderedSectionContent
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

import lakehouse.quality.rule_expectation  # noqa: F401  (Great Expectations learns our own expectation)
from lakehouse.quality.docs_history import Validation
from lakehouse.quality.docs_results import rule_name, severity
from lakehouse.quality.suite import OWN

_TABLE_LEVEL = "Table-Level Expectations"
"""How Great Expectations calls the section of what no single column is to blame for."""

_SQL = ("predicate", "query", "figure")
"""Arguments of our own expectation."""


class PageRenderer:
    """Renders validations into frames of a folder. Templates are compiled once a renderer."""

    def __init__(self, frames: Path) -> None:
        self._sections = ValidationResultsPageRenderer(run_info_at_end=True)
        self._view = DefaultJinjaPageView(custom_views_directory=str(frames))

    def render(self, validation: Validation, result: ExpectationSuiteValidationResult) -> str:
        """The page of a validation. The result is not changed."""
        ours = _prepared(result)
        document = self._sections.render(ours)
        # The first section repeats the page's head, the last one says who ran it: both stand in our frame.
        document.sections = document.sections[1:-1]
        for section in document.sections:
            name = str(section.section_name)
            _name_rules(section, [one for one in ours.results if _section_of(one) == name])
            section.section_name = escape(name)
        page: str = self._view.render(  # type: ignore[no-untyped-call]  # the library has no types here
            document, template="validation.j2", validation=validation
        )
        return page


def _prepared(result: ExpectationSuiteValidationResult) -> ExpectationSuiteValidationResult:
    """A copy that is safe to render, what failed first."""
    ours = deepcopy(result)
    ours.results.sort(key=lambda one: bool(one.success))
    for one in ours.results:
        if one.expectation_config is not None:
            one.expectation_config = _shown_config(one.expectation_config)
        one.result = _shown(one.result)
    return ours


def _shown_config(config: ExpectationConfiguration) -> ExpectationConfiguration:
    """What a rule asks for, in the words of its contract, else in Great Expectations', else in SQL."""
    asked = next((str(config.kwargs[name]) for name in _SQL if config.kwargs.get(name)), "")
    kind, arguments = config.type, config.kwargs
    try:
        config.to_domain_obj()
    except Exception:  # noqa: BLE001  (its arguments are the contract's; that they are refused is what the page says)
        asked = f"{kind}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
        kind, arguments = OWN, {"rule": ""}
    words = escape(config.description or asked) or None
    return ExpectationConfiguration(kind, arguments, config.meta, description=words, severity=config.severity)


def _name_rules(section: RenderedSectionContent, results: Sequence[ExpectationValidationResult]) -> None:
    """Two columns more in a section's table, which has a row a result: the rule's name and its severity."""
    for block in section.content_blocks:
        if block.content_block_type == "table":
            block.header_row[1:1] = ["Rule", "Severity"]
            for row, one in zip(block.table, results, strict=True):
                row[1:1] = [escape(rule_name(one)), severity(one)]


def _section_of(one: ExpectationValidationResult) -> str:
    """The name of the section that it stands in."""
    config = one.expectation_config
    return str(config.kwargs.get("column", _TABLE_LEVEL)) if config is not None else _TABLE_LEVEL


def _shown(value: object) -> Any:  # noqa: ANN401  (of the kind that came in)
    """Text with its markup escaped: the renderers put it in as it is."""
    match value:
        case str():
            return escape(value)
        case Mapping():
            return {key: _shown(each) for key, each in value.items()}
        case list() | tuple():
            return ["NULL" if each is None else _shown(each) for each in value]
    return value
