"""Reads pages and drawings back, by the standard library's parsers."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree  # of our own making
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Tags with their attributes, and words; tags must be closed in order.

    Attributes:
        tags: Name and attributes of each tag.
        words: All text outside of scripts and styles, joined.
        data: What the page's program is given.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self._scripts: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open
        self.words = " ".join(" ".join(self._words).split())
        self.data: Any = json.loads(self._scripts[0])

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self._scripts.append(data)
        elif self._open[-1:] != ["style"]:
            self._words.append(data)

    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


def parsed(markup: str) -> ElementTree.Element:
    """A piece of markup, which must be well-formed, under one root."""
    return ElementTree.fromstring(f"<root>{markup}</root>")  # noqa: S314


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """All elements of a class, in order."""
    return [each for each in root.iter() if name in each.attrib.get("class", "").split()]


def moved(element: ElementTree.Element) -> tuple[float, float]:
    """Where an element was moved to."""
    x, y = element.attrib["transform"].removeprefix("translate(").rstrip(")").split()
    return float(x), float(y)


def said(element: ElementTree.Element) -> str:
    """All words in an element."""
    return " ".join("".join(element.itertext()).split())
