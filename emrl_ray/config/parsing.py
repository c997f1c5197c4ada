"""A configuration dataclass from command line words and YAML: parsing, help, one-line messages."""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from emrl_ray.config import UserError
from emrl_ray.config.base import refuse_query
from emrl_ray.config.errors import one_line
from emrl_ray.config.renamed import OPTIONS

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

C = TypeVar("C")
FOLDERS = {"out", "model"}
"""Options whose value other paths begin with; of every other model its card is asked (`model.card`)."""


def local_bytes(file: str) -> bytes:
    """Return what a file of this machine holds."""
    return Path(file).read_bytes()


def parse(
    kind: type[C],
    words: Sequence[str],
    values: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    read: Callable[[str], bytes] = local_bytes,
) -> C:
    """Return the configuration that `words` give; they come before `--config FILE` and `values`.

    `read` returns what a file of options holds.

    Raises UserError, in one line, for an option that is unknown, missing or of another type.
    """
    known = [entry.name for entry in _fields(kind)]
    try:
        given, words = _take_given(kind, _joined(_unaliased(kind, words)), dict(values or {}), read)
        for key in given:
            if key not in known:
                if (new := OPTIONS.get(key)) in known:
                    raise UserError(f"{key}: renamed to {new}")
                raise UserError(f"{key}: no option of {name}{did_you_mean(key, known)}")
        given |= _checked(kind, given)
        found = _parser(kind, given, f"emrl-ray {name}").parse_args(words).as_dict()
    except argparse.ArgumentError as error:
        raise UserError(_explain(str(error), kind)) from None
    for folder in FOLDERS & found.keys():
        refuse_query(f"--{folder}", str(found[folder]))
    return kind(**{key: found[key] for key in known})


def read_yaml(file: str, read: Callable[[str], bytes] = local_bytes) -> dict[str, Any]:
    """Return the mapping in a YAML 1.2 file, so that `1:30` and `No` (nobelium) are text.

    Raises UserError, in one line, if there is none.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.2's core schema in place of 1.1's."""

    Loader.yaml_implicit_resolvers = {}
    for tag, pattern in {
        "null": r"|~|null",
        "bool": r"true|false",
        "int": r"[-+]?(0|[1-9][0-9]*)",
        "float": r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "merge": r"<<",
    }.items():
        Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), None
        )
    try:
        content = yaml.load(read(file).decode(), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"--config {file}: {why}") from None
    if not isinstance(content, dict):
        raise UserError(f"--config {file}: holds no OPTION: VALUE lines")
    return content


def _unaliased(kind: type, words: Sequence[str]) -> list[str]:
    """Return the words with the full names of options that were given by another one."""
    names = {f"--{short}": f"--{_dashed(name)}" for short, name in _aliases(kind).items()}
    parts = [word.partition("=") for word in words]
    return [names.get(option, option) + equals + value for option, equals, value in parts]


def _aliases(kind: type) -> dict[str, str]:
    """Return the names of fields by the other name that an option has."""
    fields = [entry for entry in _fields(kind) if "alias" in entry.metadata]
    return {entry.metadata["alias"]: entry.name for entry in fields}


def _joined(words: Sequence[str]) -> list[str]:
    """Return the words with `--an_option` as `--an-option`, and joined to a value like `-3:-2`."""
    joined: list[str] = []
    for word in words:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            joined.append(option.replace("_", "-") + equals + value)
        elif re.match(r"-[\d.]", word) and joined and re.match(r"--[^=]+$", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _take_given(
    kind: type, words: Sequence[str], values: dict[str, Any], read: Callable[[str], bytes]
) -> tuple[dict[str, Any], list[str]]:
    """Return `values`, updated by --config files and by positionals given as options; the rest."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--config", action="append", default=[])
    for entry in _fields(kind):
        if _is_positional(entry):
            options = {"nargs": "+"} if entry.type == "list[str]" else {}
            finder.add_argument(f"--{_dashed(entry.name)}", **options)  # type: ignore[arg-type]
    found, rest = finder.parse_known_args(words)
    named = vars(found)
    for file in named.pop("config"):
        values |= read_yaml(file, read)
    values |= {key: value for key, value in named.items() if value is not None}
    plain = {str(key).replace("-", "_"): value for key, value in values.items()}
    names = _aliases(kind)
    return {names.get(key, key): value for key, value in plain.items()}, rest


def _checked(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values as the types of their fields."""
    lists = [entry.name for entry in _fields(kind) if entry.type == "list[str]"]
    values = {
        key: [value] if key in lists and isinstance(value, str) else value
        for key, value in given.items()
    }
    stand_ins = {entry.name: None for entry in _fields(kind) if _default(entry) is MISSING}
    found = _parser(kind, stand_ins, "").parse_object(values).as_dict()  # type: ignore[union-attr]
    return {key: found[key] for key in values}


def _parser(kind: type, given: Mapping[str, Any], name: str) -> ArgumentParser:
    """Return the parser of a dataclass; `given` values stand in for its defaults."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=name, description=kind.__doc__, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument(
        "--config", type=str, metavar="FILE", help="YAML file of options; those given here win."
    )
    hints, helps = get_type_hints(kind), field_docs(kind)
    for entry in sorted(_fields(kind), key=lambda entry: _rank(kind, entry)):
        default = given.get(entry.name, _default(entry))
        required = default is MISSING
        options: dict[str, Any] = {"type": hints[entry.name], "help": helps[entry.name]}
        if not required:
            options["default"] = default
        if hints[entry.name] == list[str]:
            options |= {"type": str, "nargs": "+" if required else "*"}
        elif hints[entry.name] is bool:
            options |= {"nargs": "?", "const": True}
        if _is_positional(entry):
            if not required and "nargs" not in options:
                options["nargs"] = "?"
            parser.add_argument(entry.name, **options)
        else:
            parser.add_argument(f"--{_dashed(entry.name)}", required=required, **options)
    return parser


def _fields(kind: type) -> tuple[Field[Any], ...]:
    return fields(kind)


def _is_positional(entry: Field[Any]) -> bool:
    return bool(entry.metadata.get("positional"))


def _rank(kind: type, entry: Field[Any]) -> tuple[bool, bool]:
    """Order of a verb's help: positionals, the verb's own options, those it shares with others."""
    return not _is_positional(entry), entry.name not in kind.__annotations__


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _default(entry: Field[Any]) -> Any:
    return entry.default_factory() if entry.default_factory is not MISSING else entry.default


def field_docs(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass and its bases, by name."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for statement, below in pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
                docs[statement.target.id] = ast.literal_eval(below.value)  # type: ignore[union-attr]
    return docs


def _explain(message: str, kind: type) -> str:
    """Return the parser's message in one line, in the terms of the command line."""
    entries = {entry.name: entry for entry in _fields(kind)}
    options = [f"--{_dashed(name)}" for name in entries]
    if key := re.match(r'Parser key "(\w+)"', message):
        value = re.search(r"(?:Got value|Given value): (.*)", message)
        expected = entries[key[1]].type.replace(" | None", "")
        kinds = {"int": "a whole number", "float": "a number", "bool": "true or false"}
        kinds |= {"str": "text", "list[str]": "a list of text", "dict": "a section of options"}
        kinds |= {"Space": "a value, a list of values or a range"}
        meant = kinds.get(expected) or expected.replace("Literal", "one of ")
        option = entries[key[1]].metadata.get("alias", _dashed(key[1]))
        return f"--{option} {value[1] if value else ''}: must be {meant}"
    if unknown := re.match(r"unrecognized arguments: (--[^ =]+)", message):
        new = OPTIONS.get(unknown[1].removeprefix("--").replace("-", "_"))
        if new in entries:
            return f"{unknown[1]}: renamed to --{_dashed(new)}"
        return f"{unknown[1]}: no such option{did_you_mean(unknown[1], options)}; see --help"
    if missing := re.match(r"the following arguments are required: (.*)", message):
        wanted = [
            name.upper() if _is_positional(entries[name]) else f"--{_dashed(name)}"
            for name in missing[1].split(", ")
        ]
        return f"missing {', '.join(wanted)}; see --help"
    for short, name in _aliases(kind).items():
        message = message.replace(f"argument --{_dashed(name)}:", f"argument --{short}:")
    return one_line(message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint at the one of `known` that `word` resembles, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
