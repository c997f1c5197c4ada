"""An OPTIMADE server as a source: the pages of one filter, each of which names the next.

A link to the next page is the server's own, so pages come one after another, and a partition keeps the
link that came with it: a fetch that was interrupted goes on from there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.config import FetchConfig, UserError
from emrl_ray.config.errors import ServerError
from emrl_ray.crystals.counts import RowCounts
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.paths import resolve
from emrl_ray.io.text import printable
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput
from emrl_ray.sources.databases.base import FetchPlan, Progress, with_origin
from emrl_ray.sources.databases.http_session import Session, TransientError
from emrl_ray.sources.databases.optimade_schema import read_entry, structure_columns
from emrl_ray.sources.databases.records import tabulate
from emrl_ray.sources.databases.retry import RetryPolicy
from emrl_ray.sources.files.formats.optimade import STRUCTURE_FIELDS

NEXT = "emrl_ray.next"
"""Key of a partition's metadata: the link to the page after it, empty after the last."""


class Page(NamedTuple):
    """A page that was fetched."""

    name: str


class Answer(NamedTuple):
    """What a server says to one request."""

    data: list[dict[str, Any]]
    next: str
    """Link to the next page; empty if there is none."""
    meta: dict[str, Any]


class Optimade:
    """An OPTIMADE server, with the filter of the options."""

    def __init__(self, config: FetchConfig, asker: RetryPolicy) -> None:
        """Take the options; nothing is asked for yet. UserError, in one line, for a wrong URL."""
        self.config, self.asker = config, asker
        self.url = structures_url(config.optimade or "")
        self.limits = ValidationLimits.of(config, config.cutoff)
        denied = "the server does not let us in"
        self.session = Session(1, config.request_timeout, {}, denied)

    def plan(self, earlier: FetchPlan | None) -> FetchPlan:
        """Return origin, number of structures and properties; see `Source`."""
        if earlier is not None:
            return earlier
        answer = self.asker(lambda: self._get(self._query(1, ["nelements"])))
        if not answer.data:
            if self.config.filter is None:
                raise UserError(f"--all: {self.url} has no structures")
            raise UserError(
                f"--filter {self.config.filter}: no structure of {self.url} is like that"
            )
        properties = self._properties() if self.config.fields else {}
        structure_columns(self.config.fields, properties, None)
        origin = {
            "source": f"OPTIMADE ({_told(answer.meta, 'provider', 'name') or 'unnamed'})",
            "endpoint": self.url,
            "database_version": _told(answer.meta, "database", "version"),
            "query": {"filter": self.config.filter},
            "fields": self.config.fields,
        }
        total = answer.meta.get("data_returned")
        return {
            "origin": origin,
            "total": total if type(total) is int and total >= 0 else None,
            "properties": {name: properties[name] for name in self.config.fields},
        }

    def fetch(
        self, plan: FetchPlan, output: PartitionedOutput, progress: Progress
    ) -> Sequence[Named]:
        """Commit one page after another; see `Source`."""
        columns = structure_columns(self.config.fields, plan["properties"], self.config.theory)
        pages, counts = _pages_there(output)
        first = self._query(self.config.block_rows, [*STRUCTURE_FIELDS, *self.config.fields])
        link = _next_of(output, pages[-1]) if pages else first
        progress(len(pages), self._expected(plan, pages, counts, link), counts)
        seen: set[str] = set()
        while link:
            if link in seen:
                raise ServerError(
                    f"{self.url}: a link to the next page leads back to an earlier one"
                )
            seen.add(link)
            page = Page(f"slice-{len(pages):06d}")
            answer = self.asker(lambda url=link: self._get(url))  # type: ignore[misc]
            counts += self._commit(plan, output, page, answer, columns)
            pages.append(page)
            link = answer.next
            progress(len(pages), self._expected(plan, pages, counts, link), counts)
        return pages

    def _commit(
        self,
        plan: FetchPlan,
        output: PartitionedOutput,
        page: Page,
        answer: Answer,
        columns: pa.Schema,
    ) -> RowCounts:
        entries = [read_entry(resource, self.config.fields) for resource in answer.data]
        table, rejects = tabulate(entries, columns, self.limits, self.url)
        rows = with_origin(table, plan, **{NEXT: answer.next})
        return output.commit(page.name, rows, rejects, len(entries))

    def _expected(
        self, plan: FetchPlan, pages: Sequence[Page], counts: RowCounts, link: str
    ) -> int:
        """Return how many pages there will be, as far as one can tell."""
        if not link:
            return len(pages)
        rows = counts.rows_in / len(pages) if pages else self.config.block_rows
        left = max(1, (plan["total"] or 0) - counts.rows_in)
        return len(pages) + max(1, round(left / max(rows, 1)))

    def _query(self, rows: int, fields: Sequence[str]) -> str:
        """Return the URL of the first page of `rows` structures."""
        asked = {"filter": self.config.filter} if self.config.filter else {}
        options = {**asked, "page_limit": rows, "response_fields": ",".join(fields)}
        return f"{self.url}?{urlencode(options)}"

    def _get(self, url: str) -> Answer:
        """Return the answer to a request for structures."""
        body = self.session.get(url).json()
        data, links, meta = body.get("data"), body.get("links") or {}, body.get("meta") or {}
        if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
            raise TransientError(f"{self.url}: a malformed answer, without a list of data")
        link = links.get("next") if isinstance(links, dict) else links
        link = (link.get("href") if isinstance(link, dict) else link) or ""
        if not isinstance(link, str) or not isinstance(meta, dict):
            raise TransientError(f"{self.url}: a malformed answer, its links or meta are none")
        if link and not data:
            raise TransientError(f"{self.url}: an empty page with a link to a next one")
        if not link and meta.get("more_data_available") is True:
            raise TransientError(f"{self.url}: more data is there, and no link to the next page")
        return Answer(data, _joined(url, link), meta)

    def _properties(self) -> dict[str, Any]:
        """Return what the server says of the properties of its structures, by their names."""
        url = urljoin(self.url, "info/structures")
        data = self.asker(lambda: self.session.get(url).json().get("data"))
        found = data.get("properties") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise ServerError(f"{url}: does not tell what properties there are")
        return found


def structures_url(base: str) -> str:
    """Return the URL of the structures of a server, of version 1 unless the base URL names one."""
    if not base.startswith(("http://", "https://")):
        raise UserError(f"--optimade {base}: must begin with http:// or https://")
    base = base.rstrip("/").removesuffix("/structures")
    versioned = re.search(r"/v\d+(\.\d+)*$", base)
    return f"{base}/structures" if versioned else f"{base}/v1/structures"


def _joined(url: str, link: str) -> str:
    """Return a link of the answer at `url` in full; raises TransientError if it is none."""
    try:
        return urljoin(url, printable(link)) if link else ""
    except ValueError as error:
        raise TransientError(f"{link[:80]}: no link to a next page ({error})") from None


def _told(meta: dict[str, Any], part: str, name: str) -> str | None:
    """Return a text in a part of what an answer says of itself; None if there is none."""
    found = meta.get(part)
    text = found.get(name) if isinstance(found, dict) else None
    return printable(text) if isinstance(text, str) else None


def _pages_there(output: PartitionedOutput) -> tuple[list[Page], RowCounts]:
    """Return the pages that were committed without a gap from the first on, and their counts."""
    done = output.completed()
    pages: list[Page] = []
    while (page := Page(f"slice-{len(pages):06d}")).name in done:
        pages.append(page)
    return pages, RowCounts.total(done[page.name] for page in pages)


def _next_of(output: PartitionedOutput, page: Page) -> str:
    """Return the link that came with a page."""
    file = resolve(output.rows) / f"{page.name}.parquet"
    metadata = pq.read_schema(file.path, filesystem=file.filesystem).metadata
    return metadata[NEXT.encode()].decode()
