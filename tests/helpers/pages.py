"""Pages as a parser reads them."""

from __future__ import annotations

from html.parser import HTMLParser

from tl_fbn.reporting.page import methods_section as methods


class Outline(HTMLParser):
    """Tags with their attributes, and the text inside scripts, of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data
        else:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def methods_of(*results: object) -> str:
    """What the methods section says of results."""
    return "\n".join(methods.paragraphs(results))
