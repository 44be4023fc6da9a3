"""Answers that a browser saves as a file."""

from django.http import HttpResponse


def csv_file(text: str, filename: str) -> HttpResponse:
    """``text`` as a spreadsheet file that is kept nowhere on the way."""
    return HttpResponse(
        text,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"},
    )
