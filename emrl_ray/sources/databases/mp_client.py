"""mp-api, the Materials Project's own client, asked so that each call is one request.

The client turns queries into requests. Whether a request is repeated is decided here (`session`,
`asking`). Asked for more than one page it would go through them one by one, and asked for
everything it would read the whole database from S3, whatever the endpoint: so it is never asked so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import requests

from emrl_ray.config import FetchConfig, UserError
from emrl_ray.config.errors import ServerError, one_line
from emrl_ray.config.fetch import Range
from emrl_ray.io.runtime import need_extra
from emrl_ray.sources.databases.http_session import Session, TransientError
from emrl_ray.sources.databases.retry import RetryPolicy

KEYS_AT = "https://next-gen.materialsproject.org/api"
SPLIT = frozenset({414, 422})
"""Answers to a list of ids that is too long, which the client then asks for in parts."""
SEARCH_NAMES = {"formation_energy_per_atom": "formation_energy", "nelements": "num_elements"}
"""Names of ranges in the client where they are not ours."""
SERVER_NAMES = {"num_sites": "nsites"}
"""Names of ranges in requests where they are not ours."""


class Query(NamedTuple):
    """What materials to ask for, beside ids."""

    ranges: Mapping[str, Range]
    chemsys: Sequence[str]
    elements: Sequence[str]
    exclude_elements: Sequence[str]
    is_stable: bool

    @classmethod
    def of(cls, config: FetchConfig) -> Query:
        """Return the query that the options ask for."""
        return cls(
            config.ranges(),
            config.chemsys,
            config.elements,
            config.exclude_elements,
            config.is_stable,
        )

    def keywords(self) -> dict[str, Any]:
        """Return the query as keywords of the client's `search`."""
        lists = {name: list(values) for name, values in self._lists().items()}
        ranges = {SEARCH_NAMES.get(name, name): tuple(ends) for name, ends in self.ranges.items()}
        return {"deprecated": False, **lists, **ranges, **self._stable()}

    def criteria(self) -> dict[str, Any]:
        """Return the query as parameters of a request, which the client's `count` takes."""
        lists = {name: ",".join(values) for name, values in self._lists().items()}
        ranges = {
            f"{SERVER_NAMES.get(name, name)}_{end}": value
            for name, ends in self.ranges.items()
            for end, value in zip(("min", "max"), ends, strict=True)
            if value is not None
        }
        return {"deprecated": False, **lists, **ranges, **self._stable()}

    def _lists(self) -> dict[str, Sequence[str]]:
        names = ("chemsys", "elements", "exclude_elements")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def _stable(self) -> dict[str, bool]:
        return {"is_stable": True} if self.is_stable else {}


class Client:
    """The summaries of one server's materials."""

    def __init__(self, rester: Any, version: str, endpoint: str) -> None:
        """Wrap a `SummaryRester`; `connect` makes one."""
        self._rester = rester
        self.version = version
        """Version of the database."""
        self.endpoint = endpoint

    def count(self, query: Query) -> int:
        """Return how many materials there are."""
        one = {"_limit": 1, "_fields": "material_id"}
        found = self._ask(lambda: self._rester.count({**query.criteria(), **one}))
        if type(found) is not int or found < 0:
            raise TransientError(f"{self.endpoint}: a malformed answer, of {found!r} materials")
        return found

    def page(self, query: Query, number: int, rows: int, fields: Sequence[str]) -> list[Any]:
        """Return page `number` (from 1), of `rows` materials each, sorted by id."""
        return self._search(
            fields, _page=number, _sort_fields="material_id", chunk_size=rows, **query.keywords()
        )

    def materials(self, ids: Sequence[str], fields: Sequence[str]) -> list[Any]:
        """Return the materials that there are of `ids`, in any order."""
        return self._search(fields, material_ids=list(ids), chunk_size=len(ids), deprecated=False)

    def _search(self, fields: Sequence[str], **options: Any) -> list[Any]:
        names = ["material_id", "structure", *fields]
        return self._ask(lambda: self._rester.search(num_chunks=1, fields=names, **options))

    def _ask(self, ask: Callable[[], Any]) -> Any:
        """Return what the client returns; raises as `Session` does, in place of the client's errors."""
        from mp_api.client.core.exceptions import MPRestError

        try:
            return ask()
        except MPRestError as error:
            message = one_line(error)
        except UserError:  # of our session
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # of its reading of JSON
            raise TransientError(
                f"{self.endpoint}: a malformed answer ({type(error).__name__}: {error})"
            ) from None
        raise ServerError(message)


def connect(config: FetchConfig, asker: RetryPolicy) -> Client:
    """Return a client of the server that the options name.

    Raises MissingPackageError, UserError (no key), AccessError or ServerError, in one line.
    """
    summaries = _summaries()
    key = find_key()
    endpoint = _endpoint(config.endpoint)
    session = Session(
        config.parallel,
        config.request_timeout,
        {"x-api-key": key},
        f"the server does not take the key in MP_API_KEY; keys are at {KEYS_AT}",
        SPLIT,
    )
    version = asker(lambda: _version(session, endpoint))
    rester = asker(lambda: _rester(summaries, key, endpoint, session))
    return Client(rester, version, endpoint)


def find_key() -> str:
    """Return the key in MP_API_KEY or in pymatgen's settings; raises UserError if there is none."""
    from mp_api.client.core.exceptions import MPRestError
    from mp_api.client.core.utils import validate_api_key

    where = f"get one at {KEYS_AT} and put it into the environment variable MP_API_KEY"
    try:
        with warnings.catch_warnings(action="ignore"):
            key = validate_api_key()
    except MPRestError:
        raise UserError(f"the Materials Project key is not one of 32 characters: {where}") from None
    if not key:
        raise UserError(f"no Materials Project key: {where}")
    return key


def canonical(material_id: str) -> str | None:
    """Return an id in the form in which the client asks for it, None if it is no id."""
    from mp_api.client.core.exceptions import MPRestError
    from mp_api.client.core.utils import validate_ids

    try:
        return validate_ids([material_id])[0]
    except (ValueError, MPRestError):
        return None


def _summaries() -> Any:
    """Return the client's class of summaries; raises ImportError, in one line, without mp-api."""
    need_extra("mp_api.client.routes.materials.summary", extra="mp")
    from mp_api.client.routes.materials.summary import SummaryRester

    class Summaries(SummaryRester):
        """Summaries; the client would make a JSON schema anew for each field of each request."""

        @cached_property
        def available_fields(self) -> list[str]:
            return super().available_fields

    return Summaries


def _endpoint(given: str | None) -> str:
    """Return the base URL, with a slash at its end: the client would cut off its last part."""
    from mp_api.client.core.utils import validate_endpoint

    if given is not None and not given.startswith(("http://", "https://")):
        raise UserError(f"--endpoint {given}: must begin with http:// or https://")
    return validate_endpoint(given)


def _version(session: Session, endpoint: str) -> str:
    """Return the version of the database."""
    version = session.get(f"{endpoint}heartbeat").json().get("db_version")
    if not version:
        raise TransientError(f"{endpoint}heartbeat: does not tell the version of the database")
    return str(version)


def _rester(summaries: Any, key: str, endpoint: str, session: Session) -> Any:
    """Return the client's object; it asks for the heartbeat in its own way, without our session."""
    try:
        return summaries(
            api_key=key,
            endpoint=endpoint,
            session=session,
            use_document_model=False,
            mute_progress_bars=True,
        )
    except UserError:  # of our session
        raise
    except (requests.RequestException, ValueError, KeyError) as error:
        raise TransientError(f"{endpoint}heartbeat: {type(error).__name__}: {error}") from None
