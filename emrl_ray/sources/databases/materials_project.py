"""The Materials Project as a source: the pages of a query, or lists of ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from emrl_ray.config import FetchConfig, UserError
from emrl_ray.crystals.counts import RowCounts
from emrl_ray.crystals.elements import named_elements
from emrl_ray.crystals.schema import Reject, RejectReason, Stage
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput
from emrl_ray.sources.databases.base import FetchPlan, Progress, with_origin
from emrl_ray.sources.databases.http_session import TransientError
from emrl_ray.sources.databases.id_files import is_id, read_ids
from emrl_ray.sources.databases.mp_client import Client, Query, canonical, connect
from emrl_ray.sources.databases.mp_properties import DEFAULTS, column_name, summary_columns
from emrl_ray.sources.databases.parallel import fetch_in_parallel
from emrl_ray.sources.databases.records import Entry, tabulate
from emrl_ray.sources.databases.retry import RetryPolicy
from emrl_ray.sources.files.formats.structure_json import read_structure
from emrl_ray.sources.files.parsed import ParseFailure, attempt

NAME = "Materials Project"
Document = dict[str, Any]
"""A material as the server describes it."""


class Page(NamedTuple):
    """A page of a query."""

    name: str
    number: int
    """From 1 on."""
    rows: int
    """Materials that it holds."""


class Line(NamedTuple):
    """An id as its file has it."""

    text: str
    id: str | None
    """In the client's form; None if it is not asked for."""
    failure: ParseFailure | None = None
    """Why it is not."""


class Lines(NamedTuple):
    """Ids that are asked for together."""

    name: str
    lines: Sequence[Line]


class MaterialsProject:
    """The Materials Project, with the query or the ids of the options."""

    def __init__(self, config: FetchConfig, asker: RetryPolicy) -> None:
        """Check the options before anything is asked for; UserError, in one line, for a wrong one."""
        named_elements(config.elements, "elements")
        named_elements(config.exclude_elements, "exclude-elements")
        self.config, self.asker = config, asker
        self.fields = config.fields or list(DEFAULTS)
        self.columns = summary_columns(self.fields, config.theory)
        self.limits = ValidationLimits.of(config, config.cutoff)
        self.query = Query.of(config)
        self.texts = None if config.ids is None else read_ids(config.ids, config.id_column)
        self.client: Client = connect(config, asker)

    def plan(self, earlier: FetchPlan | None) -> FetchPlan:
        """Return origin and number of materials; see `Source`."""
        version = self.client.version
        if earlier is not None:
            before = earlier["origin"]["database_version"]
            if before != version:
                raise UserError(
                    f"{self.config.out} was begun with version {before} of the database, which is "
                    f"now {version}: use --overwrite or another --out"
                )
            return earlier
        if self.texts is None:
            total = self.asker(lambda: self.client.count(self.query))
        else:
            total = len(self.texts)
        if not total:
            raise UserError(f"no material of the database (version {version}) is like that")
        origin = {
            "source": NAME,
            "endpoint": self.client.endpoint,
            "database_version": version,
            "query": self._asked(),
            "fields": self.fields,
        }
        return {"origin": origin, "total": total}

    def fetch(
        self, plan: FetchPlan, output: PartitionedOutput, progress: Progress
    ) -> Sequence[Named]:
        """Commit what is missing; see `Source`."""
        threads = self.config.parallel
        if self.texts is None:
            pages = _pages(plan["total"], self.config.block_rows)
            work = partial(self._fetch_page, plan, output)
            fetch_in_parallel(pages, output, work, threads, self.asker, progress)
            return pages
        lists = _lists(self.texts, self.config.block_rows)
        fetch_in_parallel(
            lists, output, partial(self._fetch_ids, plan, output), threads, self.asker, progress
        )
        return lists

    def _asked(self) -> dict[str, Any]:
        """Return what is asked for, as the origin of the table tells it."""
        if self.config.ids is not None:
            return {"ids": self.config.ids}
        return self.query.criteria()

    def _fetch_page(self, plan: FetchPlan, output: PartitionedOutput, page: Page) -> RowCounts:
        documents = self.asker(lambda: self._page(page))
        return self._commit(plan, output, page.name, documents, [])

    def _fetch_ids(self, plan: FetchPlan, output: PartitionedOutput, lines: Lines) -> RowCounts:
        wanted = [line.id for line in lines.lines if line.id is not None]
        found = self.asker(lambda: self._materials(wanted)) if wanted else {}
        documents = [found[each] for each in wanted if each in found]
        version = plan["origin"]["database_version"]
        unknown = ParseFailure(
            RejectReason.UNKNOWN_ID, f"version {version} of the database has no such id"
        )
        rejects = [
            (line.failure or unknown).reject(line.text, str(self.config.ids), Stage.READ)
            for line in lines.lines
            if line.id not in found
        ]
        return self._commit(plan, output, lines.name, documents, rejects)

    def _page(self, page: Page) -> list[Document]:
        """Return the materials of a page; TransientError if they are not as many as there must be."""
        rows = self.config.block_rows
        documents = _checked(self.client.page(self.query, page.number, rows, self.fields))
        if len(documents) != page.rows:
            raise TransientError(
                f"page {page.number} has {len(documents)} materials, not {page.rows}"
            )
        return documents

    def _materials(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the materials that there are of `ids`, by id; TransientError if there are others."""
        documents = _checked(self.client.materials(ids, self.fields))
        found = {canonical(document["material_id"]): document for document in documents}
        if len(found) < len(documents) or not found.keys() <= set(ids):
            raise TransientError("an answer with other materials than those asked for")
        return {str(key): document for key, document in found.items()}

    def _commit(
        self,
        plan: FetchPlan,
        output: PartitionedOutput,
        name: str,
        documents: Sequence[Document],
        rejects: list[Reject],
    ) -> RowCounts:
        entries = [_entry(document, self.fields) for document in documents]
        table, extra = tabulate(entries, self.columns, self.limits, self.client.endpoint)
        rows_in = len(entries) + len(rejects)
        return output.commit(name, with_origin(table, plan), rejects + extra, rows_in)


def _pages(total: int, rows: int) -> list[Page]:
    return [
        Page(f"slice-{index:06d}", index + 1, min(rows, total - index * rows))
        for index in range(-(-total // rows))
    ]


def _lists(texts: Sequence[str], rows: int) -> list[Lines]:
    seen: set[str] = set()
    lines = [_line(text, seen) for text in texts]
    return [
        Lines(f"slice-{index:06d}", lines[start : start + rows])
        for index, start in enumerate(range(0, len(lines), rows))
    ]


def _line(text: str, seen: set[str]) -> Line:
    """Return a line of a file of ids; `seen` are the ids so far, to which its own is added."""
    found = canonical(text) if is_id(text) else None
    if found is None:
        return Line(text, None, ParseFailure(RejectReason.UNKNOWN_ID, "not an id such as mp-149"))
    if found in seen:
        return Line(
            text, None, ParseFailure(RejectReason.DUPLICATE_ID, "an earlier line has this id")
        )
    seen.add(found)
    return Line(text, found)


def _checked(documents: list[Any]) -> list[Document]:
    """Return documents that have an id each; raises TransientError for something else."""
    for document in documents:
        if not isinstance(document, dict) or not isinstance(document.get("material_id"), str):
            raise TransientError("a malformed answer: a material without an id")
    return documents


def _entry(document: Document, fields: Sequence[str]) -> Entry:
    values = {column_name(name): _look_up(document, name) for name in fields}
    structure = attempt(read_structure, document.get("structure"))
    return Entry(document["material_id"], structure, values)


def _look_up(document: Document, name: str) -> Any:
    """Return the value of a field, a dot in its name leading into it; None if it is not there."""
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
