"""How values are shown: exact money, relative time with the exact one behind it, sizes, durations, and their markup.

``{% load shown %}``; the markup lies in ``templates/console/_*.html``.
"""

import datetime as dt
import shlex
from typing import Any, Final

from django import template
from django.conf import settings
from django.template.context import Context
from django.urls import reverse
from django.utils.functional import Promise

from moorage.kernel import clock
from moorage.kernel.money import Money

register = template.Library()

_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES: Final = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


@register.filter
def money(pico: int | None, currency: str) -> str:
    """``125000000|money:"EUR"`` -> ``0.000125 EUR``: every digit that is there. Nothing for None."""
    return "" if pico is None else str(Money(int(pico), currency))


@register.filter
def count(number: int | None) -> str:
    """Whole numbers in groups of three: ``12 345`` with narrow spaces, which copying keeps readable."""
    return "" if number is None else f"{int(number):,}".replace(",", "\u202f")


@register.filter
def size(number: int | None) -> str:
    """Bytes for people, decimal as registries count: ``7.8 MB``."""
    if number is None:
        return ""
    for factor, unit in _SIZES:
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} bytes"


@register.filter
def mebibytes(number: int) -> str:
    """Memory as it is reserved: ``512 MiB``."""
    return f"{number / 2**20:.0f} MiB"


@register.filter
def room(number: int) -> str:
    """Memory of machines and devices: ``1.5 GiB``, ``512 GiB``, ``512 MiB``."""
    return f"{number / 2**30:.1f} GiB".replace(".0 ", " ") if number >= 2**30 or not number else mebibytes(number)


@register.filter
def duration(seconds: float | None) -> str:
    """The two largest units that matter: ``3 min 20 s``, ``2 d 4 h``, ``0 s``."""
    if seconds is None:
        return ""
    rest, parts = max(int(seconds), 0), []
    for length, unit in _STEPS:
        amount, rest = divmod(rest, length)
        if amount:
            parts.append(f"{amount} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


@register.filter
def exact(at: dt.datetime) -> str:
    """``2026-11-22 10:00:05 UTC``."""
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


@register.inclusion_tag("console/_time.html")
def moment(at: dt.datetime | None, otherwise: str = "–") -> dict[str, Any]:
    """``{% moment key.created_at %}``: how long ago (or how soon), with the exact UTC on hover."""
    if at is None:
        return {"at": None, "otherwise": otherwise}
    seconds = (clock.now() - at).total_seconds()
    largest = duration(abs(seconds)).split()
    words = " ".join(largest[:2])
    if abs(seconds) < 1:
        return {"at": at, "words": "just now"}
    return {"at": at, "words": f"{words} ago" if seconds > 0 else f"in {words}"}


@register.inclusion_tag("console/_status.html")
def status(value: str, word: str | Promise = "") -> dict[str, Any]:
    """``{% status invoice.status invoice.get_status_display %}``: a dot with its word, never colour alone."""
    return {"value": value, "word": word or value.replace("_", " ").capitalize()}


@register.inclusion_tag("console/_id.html")
def identifier(text: str, label: str = "") -> dict[str, Any]:
    """``{% identifier replica.id %}``: monospace, copied on click. ``label`` is shown instead where the id is long."""
    return {"text": text, "label": label or text}


@register.inclusion_tag("console/_curl.html")
def curl(path: str, method: str = "GET", options: str = "", title: str = "") -> dict[str, Any]:
    """``{% curl "keys" %}``: the same thing with curl; ``path`` below /api/v1/, ``options`` as in a shell."""
    return {"command": curl_command(path, method=method, options=options), "title": title}


def curl_command(path: str, *, method: str = "GET", options: str = "") -> str:
    """The command with the key in a variable, so that no secret lands in a shell's history by example."""
    verb = "" if method == "GET" else f" -X {method}"
    lines = [
        f"curl{verb} {shlex.quote(f'{settings.MOORAGE_CONSOLE_URL}/api/v1/{path}')}",
        '-H "Authorization: Bearer $MOORAGE_KEY"',
    ]
    return " \\\n  ".join([*lines, *([options] if options else [])])


@register.inclusion_tag("console/_place.html", takes_context=True)
def place(context: Context, name: str, words: str, *args: str, also: str = "") -> dict[str, Any]:
    """A link of the bar to ``console:<name>``, marked where the page is it or one of ``also`` (``a,b``)."""
    match = getattr(context.get("request"), "resolver_match", None)
    here = match.url_name if match is not None else None
    return {
        "url": reverse(f"console:{name}", args=args),
        "words": words,
        "is_here": here == name or here in also.split(","),
    }
