"""A page as its tests read it: the text of its sections, its tables, its elements."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """What a page holds, by section."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        """The text of each section by its id, entities resolved."""
        self.rows: dict[str, list[list[str]]] = {}
        """The rows of all tables of a section, each a list of the texts of its cells."""
        self.keys: list[dict[str, str | None]] = []
        """What each row of the shortlist is sorted by, by class of the column."""
        self._open: list[str] = []
        self._section = ""
        self.feed(source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "section":
            self._section = found["id"] or ""
            self.rows[self._section] = []
        elif tag == "tr":
            self.rows[self._section].append([])
            self.keys.append({})
        elif tag in ("td", "th"):
            self.rows[self._section][-1].append("")
            if "data-title" in found:
                self.keys[-1][found["class"]] = found.get("data-key")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.text[self._section] = self.text.get(self._section, "") + data
        if {"td", "th"} & set(self._open):
            self.rows[self._section][-1][-1] += data

    def of_class(self, name):
        """Return the attributes of the elements that have a class."""
        return [found for _, found in self.elements if name in (found.get("class") or "").split()]
