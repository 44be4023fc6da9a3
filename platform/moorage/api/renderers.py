"""Answers that are not JSON: text to read or to download, CSV for spreadsheets."""

from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BaseRenderer


class TextRenderer(BaseRenderer):
    """Plain text as it is."""

    media_type = "text/plain"
    format = "text"
    charset = "utf-8"

    def render(
        self, data: Any, _accepted_media_type: str | None = None, _renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """``data`` is the text."""
        return str(data).encode()


class PdfRenderer(BaseRenderer):
    """A PDF file as a room has written it."""

    media_type = "application/pdf"
    format = "pdf"
    charset = None
    render_style = "binary"

    def render(
        self, data: Any, _accepted_media_type: str | None = None, _renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """``data`` is the file."""
        return bytes(data)


class JsonLinesRenderer(TextRenderer):
    """JSON Lines as a room streams them."""

    media_type = "application/jsonl"
    format = "jsonl"


class PythonRenderer(TextRenderer):
    """A program to save."""

    media_type = "text/x-python"
    format = "py"


class CsvRenderer(TextRenderer):
    """CSV as a room has written it."""

    media_type = "text/csv"
    format = "csv"


class EventStreamRenderer(TextRenderer):
    """Server-sent events as a room streams them."""

    media_type = "text/event-stream"
    format = "events"
