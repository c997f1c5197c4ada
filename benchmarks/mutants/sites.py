"""Sites of the package where a small error can be put, by family, found in the syntax tree.

swapped_sign       + for -, - for +, a minus dropped
off_by_one         < for <=, a bound of a slice or range one too high, `- 1` or `+ 1` dropped
dropped_commit     a write, move or removal left out
dropped_reject     rejects not added, not joined or not reported
wrong_unit         a factor ten times too large, a shift by ten more bits, another unit of energy
skipped_lock       the body of a lock without the lock
negated_condition  the other branch of a condition, loop or filter
swapped_arguments  two arguments in the other order, or max for min, any for all

Docstrings, annotations, messages and modules that only print are left out.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ONLY_LINES = {"progress.py", "terminal.py", "relay.py", "usage.py", "complaints.py"}
"""Modules that only print progress, log lines or error messages."""
MESSAGE_CALLS = re.compile(r"print|say|log|Progress|\w*(Error|Warning)|warn|section|paragraph")
MESSAGE_FUNCTIONS = re.compile(
    r"_*(summarize|describe|say|progress|message|report_line)\w*|__repr__"
)
WRITES = re.compile(r"write_\w+|commit|move|remove|sweep|save|delete_\w+|rename|unlink|rmtree")
REJECTS = re.compile(r"reject|without_pairs|unpredicted|unlabell|invalid|refused")
LOCKS = re.compile(r"\.held\(|\bLock\(|_lock\b")
OPPOSITES = {"min": "max", "minimum": "maximum", "argmin": "argmax", "any": "all", "floor": "ceil"}
OPPOSITES |= {opposite: name for name, opposite in OPPOSITES.items()}
UNITS = {"eV": "meV", "eV/atom": "eV", "meV": "eV", "Å": "nm", "nm": "Å"}
ORDERS = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}
SIGNS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+")}
SCALES = (ast.Mult, ast.Div, ast.FloorDiv, ast.LShift, ast.RShift)


class Mutant(NamedTuple):
    """One small error, and where it goes."""

    id: str
    family: str
    file: str
    function: str
    """Qualified name within the module, `<module>` outside of all functions."""
    line: int
    before: str
    """Text that occurs once in the function."""
    after: str


class Edit(NamedTuple):
    """A replacement of bytes `start` to `end`; `shown` is the node that the mutant's text shows."""

    family: str
    shown: ast.AST
    start: int
    end: int
    text: str


class Source:
    """A module's text with byte positions of its syntax tree."""

    def __init__(self, text: str) -> None:
        self.bytes, self.tree = text.encode(), ast.parse(text)
        self._starts = [0]
        for line in self.bytes.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: Any) -> tuple[int, int]:
        """Return the positions of a node's first byte and of the byte after its last."""
        begin = self._starts[node.lineno - 1] + node.col_offset
        return begin, self._starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        """Return a node's text."""
        begin, end = self.span(node)
        return self.bytes[begin:end].decode()

    def between(self, left: ast.AST, right: ast.AST, old: str) -> tuple[int, int]:
        """Return the span of an operator between two nodes."""
        at = self.bytes.index(old.encode(), self.span(left)[1], self.span(right)[0])
        return at, at + len(old)


def _walk(node: ast.AST, names: tuple[str, ...] = ()) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """Yield the nodes that may be mutated, with the qualified name of their function."""
    if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Assert, ast.Import, ast.ImportFrom)):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
        return
    if isinstance(node, ast.Call) and MESSAGE_CALLS.fullmatch(_name(node.func)):
        return
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        if MESSAGE_FUNCTIONS.fullmatch(node.name):
            return
        names = (*names, node.name)
    yield node, names
    for field, value in ast.iter_fields(node):
        if field not in {"annotation", "returns", "decorator_list", "bases"}:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _walk(child, names)


def _name(node: ast.AST) -> str:
    """Return the last part of a dotted name, empty for any other expression."""
    return getattr(node, "attr", getattr(node, "id", ""))


def _edits(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Yield the small errors that a node allows."""

    def whole(family: str, target: ast.AST, text: str) -> Edit:
        return Edit(family, node, *source.span(target), text)

    match node:
        case ast.BinOp(left, (ast.Add() | ast.Sub()) as op, right):
            old, new = SIGNS[type(op)]
            kinds = (ast.Constant, ast.List, ast.Tuple, ast.JoinedStr, ast.ListComp)
            numbers = not any(isinstance(side, kinds) for side in (left, right))
            rejects = [bool(REJECTS.search(source.text(side))) for side in (left, right)]
            if any(rejects):
                yield whole("dropped_reject", node, source.text(left if rejects[1] else right))
            elif numbers:
                yield Edit("swapped_sign", node, *source.between(left, right, old), new)
            elif isinstance(right, ast.Constant) and right.value == 1:
                yield whole("off_by_one", node, source.text(left))
        case ast.UnaryOp(ast.USub(), operand) if not isinstance(operand, ast.Constant):
            yield whole("swapped_sign", node, source.text(operand))
        case ast.AugAssign(target, ast.Add(), _) if REJECTS.search(source.text(target)):
            yield whole("dropped_reject", node, "pass")
        case ast.Expr(ast.Call(ast.Attribute(owner, "append" | "extend"))):
            if REJECTS.search(source.text(owner)):
                yield whole("dropped_reject", node, "pass")
        case ast.Expr(ast.Call(ast.Attribute(_, "reject"))):
            yield whole("dropped_reject", node, "pass")
        case ast.Expr(ast.Call(function)) if WRITES.fullmatch(_name(function)):
            yield whole("dropped_commit", node, "pass")
        case ast.With([ast.withitem(context, None)]) if LOCKS.search(source.text(context)):
            yield Edit("skipped_lock", context, *source.span(context), "if True")
        case ast.Compare(left, ops, comparators):
            for a, op, b in zip([left, *comparators], ops, comparators, strict=False):
                if type(op) in ORDERS:
                    old, new = ORDERS[type(op)]
                    yield Edit("off_by_one", node, *source.between(a, b, old), new)
        case ast.Slice(lower, upper):
            for bound in (lower, upper):
                if isinstance(bound, ast.Constant) and isinstance(bound.value, int):
                    yield whole("off_by_one", bound, str(bound.value + 1))
        case ast.Call(ast.Name("range"), args):
            for arg in args:
                if isinstance(arg, ast.Constant) and isinstance(arg.value, int):
                    yield whole("off_by_one", arg, str(arg.value + 1))
        case ast.Call(function, [ast.Name(first) as a, ast.Name(second) as b, *_]) if (
            isinstance(function, ast.Name)
            and function.id.islower()
            and function.id not in dir(builtins)
            and first != second
        ):
            begin, end = source.span(a)[0], source.span(b)[1]
            yield Edit("swapped_arguments", node, begin, end, f"{second}, {first}")
        case ast.Call(function) if _name(function) in OPPOSITES:
            end = source.span(function)[1]
            name = _name(function)
            yield Edit("swapped_arguments", node, end - len(name), end, OPPOSITES[name])
        case ast.If(test, body) if not isinstance(body[0], ast.Raise):
            if _name(test) != "TYPE_CHECKING":
                yield _negated(source, test)
        case ast.IfExp(test) | ast.While(test):
            yield _negated(source, test)
        case ast.comprehension(_, _, tests):
            yield from (_negated(source, test) for test in tests)
    yield from _wrong_units(source, node)


def _negated(source: Source, test: ast.expr) -> Edit:
    inverse = f"not ({source.text(test)})"
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inverse = source.text(test.operand)
    return Edit("negated_condition", test, *source.span(test), inverse)


def _wrong_units(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Yield factors that are off by ten (or 1,024 in a shift), and other units."""
    values: list[ast.expr] = []
    match node:
        case ast.BinOp(left, op, right) if isinstance(op, SCALES):
            values = [left, right]
        case ast.Assign([ast.Name(name)], ast.Constant() as value) if name.isupper():
            values = [value] if isinstance(value.value, float) else []
        case ast.Constant(str(unit)) if unit in UNITS:
            yield Edit("wrong_unit", node, *source.span(node), f'"{UNITS[unit]}"')
    for value in values:
        number = getattr(value, "value", None)
        whole = type(number) is int and number > 9
        if whole or (type(number) is float and number not in (0, 1, 2)):
            shifted = isinstance(getattr(node, "op", None), (ast.LShift, ast.RShift))
            wrong = number + 10 if shifted else number * 10
            yield Edit("wrong_unit", node, *source.span(value), repr(wrong))


def candidates(tree: Path) -> list[Mutant]:
    """Return all mutants of a tree's package."""
    found = {}
    for path in sorted((tree / "emrl_ray").rglob("*.py")):
        if path.name in ONLY_LINES:
            continue
        source = Source(path.read_text())
        scopes = scopes_of(source)
        nodes = list(_walk(source.tree))
        inner = {id(child): item for item, _ in nodes for child in ast.iter_child_nodes(item)}
        file = str(path.relative_to(tree))
        for node, names in nodes:
            function = ".".join(names) or "<module>"
            for edit in _edits(source, node):
                shown: ast.AST | None = edit.shown
                while shown is not None:  # the smallest expression whose text is unique, or more
                    mutant = _mutant(source, scopes, file, function, edit, shown)
                    if mutant is not None:
                        found[mutant.id] = mutant
                        break
                    shown = None if isinstance(shown, ast.stmt) else inner.get(id(shown))
    return list(found.values())


def scopes_of(source: Source) -> dict[str, str]:
    """Return the text of each function by its qualified name."""
    scopes = {"<module>": source.bytes.decode()}
    for node, names in _walk(source.tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            scopes[".".join(names)] = source.text(node)
    return scopes


def _mutant(
    source: Source, scopes: dict[str, str], file: str, function: str, edit: Edit, shown: Any
) -> Mutant | None:
    """Return an edit as a mutant; None if its text occurs more than once in the function."""
    if not hasattr(shown, "lineno"):
        return None
    begin, end = source.span(shown)
    if edit.family == "skipped_lock":
        begin = source.bytes.rindex(b"with ", 0, begin + 1)
        edit = edit._replace(start=begin)
    if begin > edit.start or end < edit.end:
        return None
    before = source.bytes[begin:end].decode()
    after = (
        source.bytes[begin : edit.start] + edit.text.encode() + source.bytes[edit.end : end]
    ).decode()
    if scopes[function].count(before) != 1:
        return None
    digest = hashlib.sha256("\0".join((file, function, before, after)).encode()).hexdigest()
    return Mutant(
        f"{edit.family}-{digest[:6]}", edit.family, file, function, shown.lineno, before, after
    )
