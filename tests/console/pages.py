"""What can be seen in a page: its forms' errors, and anything that the Content-Security-Policy would refuse."""

from html.parser import HTMLParser

from django.http import HttpResponseBase


def text_of(response: HttpResponseBase) -> str:
    """The body, decoded."""
    content = response.content  # type: ignore[attr-defined]
    assert isinstance(content, bytes)
    return content.decode()


class _Inline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in: str | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._in = tag
        for name, value in attributes:
            if name == "style" or name.startswith(("on", "hx-on")) or (value or "").strip().startswith("javascript:"):
                self.found.append(f"<{tag} {name}={value!r}>")
            if name in {"src", "href", "action"} and (value or "").startswith(("//", "https:")):
                self.found.append(f"<{tag} {name}={value!r}>")

    def handle_data(self, data: str) -> None:
        if self._in in {"script", "style"} and data.strip():
            self.found.append(f"<{self._in}>{data}")

    def handle_endtag(self, tag: str) -> None:
        self._in = None


def inline_code(page: str) -> list[str]:
    """Inline scripts, styles, handlers, and addresses of other sites."""
    parser = _Inline()
    parser.feed(page)
    return parser.found
