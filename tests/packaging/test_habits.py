"""Files beside the code: links of the pages, the oldest versions, workflows, and what names the license."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
RUNTIME_EXTRAS = PROJECT["optional-dependencies"].keys() - {"dev"}


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page have."""
    titles = re.findall(r"^#+ +(.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def lines(name: str) -> dict[str, Requirement]:
    """Return the requirements in a file of constraints, by name."""
    found = [line for line in (ROOT / name).read_text().splitlines() if line[:1] not in ("", "#")]
    return {canonicalize_name(one.name): one for one in map(Requirement, found)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_links_to_is_there(page):
    for link in LINK.findall(page.read_text()):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_the_oldest_versions_are_the_lower_bounds():
    """Of everything that users install, but torch, whose builds differ from machine to machine."""
    bounds: dict[str, str] = {}
    extras = (PROJECT["optional-dependencies"][name] for name in RUNTIME_EXTRAS)
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        (bound,) = requirement.specifier
        assert bound.operator == ">=", text
        name = canonicalize_name(requirement.name)
        assert bounds.setdefault(name, bound.version) == bound.version, f"two bounds of {name}"
    del bounds["torch"]
    oldest = lines("constraints-oldest.txt")
    assert bounds.keys() == oldest.keys()
    for name, bound in bounds.items():
        (pinned,) = oldest[name].specifier
        assert pinned.operator == "=="
        parts = bound.split(".")
        assert pinned.version.split(".")[: len(parts)] == parts, name


def test_every_dependency_has_a_tested_version_that_is_allowed():
    tested = lines("constraints.txt")
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        (pinned,) = tested[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pinned.version), text


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_read_and_no_more(file):
    """But for the job that publishes, which proves who it is by a token of the moment."""
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert "group" in workflow["concurrency"]
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", {}) == ({"id-token": "write"} if name == "publish" else {})
        assert "timeout-minutes" in job
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+)", step["uses"])


def test_a_workflow_calls_targets_that_the_makefile_has():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for file in WORKFLOWS:
        for words in re.findall(r"run: make (.*)", file.read_text()):
            assert set(words.split()) <= targets, words


def test_unit_tests_run_on_every_python_that_the_metadata_names():
    listed = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if ":: 3." in text]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["unit"]["strategy"]["matrix"]["python"] == listed


def test_one_license_and_one_version_everywhere():
    license_text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0" in license_text
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version = re.search(r'__version__ = "(.+)"', (ROOT / "emrl_ray/__init__.py").read_text())
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert citation["version"] == version[1]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]


def test_hooks_have_the_tested_versions():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tested = lines("constraints.txt")
    revisions = {repo["repo"].rpartition("/")[2]: repo["rev"] for repo in hooks}
    for repository, name in {"ruff-pre-commit": "ruff", "codespell": "codespell"}.items():
        assert str(tested[name].specifier) == f"=={revisions[repository].removeprefix('v')}"
