"""An HTTP session that says of every failure whether to try again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Never

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException, SSLError, TooManyRedirects
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from emrl_ray.config.errors import AccessError, ServerError, one_line

REPEATED = {408, 425, 429}
"""Answers below 500 that may be others the next time."""
DENIED = {401, 403}
LONGEST_WAIT = 600.0
"""Seconds that a server may ask to wait; if it asks for more, the user is told."""
DETAIL_LENGTH = 300
PAGE_LIMIT = "page_limit"
"""OPTIMADE's name of how many structures a page may have, which `--block-rows` sets."""


class TransientError(Exception):
    """A request that failed and may succeed when it is repeated."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        """`wait` is in seconds, as the server asks for it."""
        super().__init__(message)
        self.wait = wait


class Session(requests.Session):
    """HTTP session whose good answers hold a JSON object, and whose failures are of two kinds.

    `TransientError` is for a cut connection, a timeout, an answer of 408, 425, 429 or 5xx, and a body
    that is no JSON object. PermissionError (401, 403) and ConnectionError (all others) say in one line
    what to do. It may be used by several threads.
    """

    def __init__(
        self,
        connections: int,
        timeout: float,
        headers: Mapping[str, str],
        denied: str,
        passed: frozenset[int] = frozenset(),
    ) -> None:
        """Make a session that keeps `connections` open and waits `timeout` seconds for an answer.

        `denied` tells what to do about an answer of 401 or 403; failures `passed` are the caller's.
        """
        super().__init__()
        self.timeout = timeout
        self.denied = denied
        self.passed = passed
        agent = f"emrl-ray Python/{platform.python_version()}"
        self.headers.update({"user-agent": agent, **headers})
        adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """Return the answer to a request; other options are those of `requests.Session.request`."""
        options["timeout"] = self.timeout
        try:
            response = super().request(method, url, **options)
        except RequestException as error:
            self._refuse(url, error)
        if response.status_code == HTTPStatus.OK:
            _check_body(response)
        elif response.status_code not in self.passed:
            self._refuse_answer(response)
        return response

    def _refuse(self, url: str, error: RequestException) -> Never:
        """Raise what a request without an answer means."""
        if isinstance(error, (ValueError, SSLError, TooManyRedirects)):
            raise ServerError(f"{_short(url)}: {_innermost(error)}") from None
        if isinstance(error, requests.Timeout):
            raise TransientError(f"{_short(url)}: no answer within {self.timeout:g} s") from None
        raise TransientError(f"{_short(url)}: {_innermost(error)}") from None

    def _refuse_answer(self, response: requests.Response) -> Never:
        """Raise what an answer other than 200 means."""
        status = response.status_code
        said = f"{_short(response.url)}: {status} {response.reason or ''}".rstrip()
        if status in DENIED:
            raise AccessError(f"{said}: {self.denied}; it says: {_detail(response)}")
        if status in REPEATED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait = _retry_after(response)
            if wait > LONGEST_WAIT:
                raise ServerError(f"{said}: asks to wait {wait:.0f} s; try again then")
            raise TransientError(said, wait)
        raise ServerError(f"{said}: {_detail(response)}")


def _check_body(response: requests.Response) -> None:
    try:
        body = response.json()
    except (ValueError, RecursionError) as error:
        raise TransientError(f"{_short(response.url)}: a malformed answer ({error})") from None
    if not isinstance(body, dict):
        raise TransientError(f"{_short(response.url)}: a malformed answer, not a JSON object")


def _retry_after(response: requests.Response) -> float:
    """Return the seconds that a Retry-After header asks for, as a number or a date; 0 without one."""
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        return 0.0


def _detail(response: requests.Response) -> str:
    """Return what the server says of a failure, in one line: FastAPI's form, OPTIMADE's, or text."""
    try:
        body = response.json()
        found = body.get("detail") or body.get("errors") or body.get("message") or body
        if isinstance(found, list) and found and isinstance(found[0], dict):
            found = found[0].get("detail") or found[0].get("msg") or found
    except (ValueError, AttributeError):
        found = response.text
    said = one_line(found)[:DETAIL_LENGTH] or "nothing"
    return f"{said}; give fewer --block-rows" if PAGE_LIMIT in said else said


def _innermost(error: BaseException) -> str:
    """Return the text of the first cause of an error, such as "Connection refused"."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return one_line(error) or type(error).__name__


def _short(url: str) -> str:
    """Return a URL without its query, which may be long."""
    return url.partition("?")[0]
