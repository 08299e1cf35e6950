"""Makes a page of docs/, as GitHub shows it, into one of the site."""

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

LINK = re.compile(r"\[([^]]+)\]\((?!https?:)([^)#\s]+)(?:#[^)\s]*)?\)")
ESCAPED = re.compile(r"<code>[^<]*\\\|[^<]*</code>")
"""Code with a pipe in a table. GitHub takes the backslash away, and Python-Markdown leaves it."""
REFERENCE = re.compile(r"^<!-- (::: .*?)\s*-->$", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, page: "Page", **_: object) -> str:
    """Put docstrings where a comment names an object, and name a file that is not of the site instead of linking."""

    def named(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), link[2]))
        if path.startswith("docs/"):
            return link[0]
        return f"`{path}`" if link[1] in path else f"{link[1]} (`{path}`)"

    return REFERENCE.sub(r"\1", LINK.sub(named, markdown))


def on_page_content(html: str, **_: object) -> str:
    """Show a pipe in the code of a table as GitHub does, without the backslash before it."""
    return ESCAPED.sub(lambda code: code[0].replace(r"\|", "|"), html)
