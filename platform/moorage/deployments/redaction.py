"""What may be shown of a text that a program printed: no secret, no prompt, nothing that steers a terminal. Pure.

A runner is a stranger's program, and its words go to a database, to pages and to terminals. In this order: escapes and
control characters are neutralised (they could split a secret), secrets are masked, the line is cut (a cut could leave
half a secret). A name of a variable tells what is a secret better than its value does, but every value of a tenant's
is masked that is long enough to be recognised.
"""

import base64
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

MASK: Final = "••••"
#: A longer line is cut, with the number of characters left out.
LINE_MOST: Final = 2_000
#: Shorter values are in every text; a variable that is called a secret is one from four characters on as well.
_SHORTEST: Final = 4
#: Values that many texts hold and nobody keeps secret, unless the variable's name says so.
_PLAIN: Final = re.compile(
    r"[0-9]{1,7}|[0-9]*\.[0-9]+|true|false|none|null|auto|default|enabled|disabled|info|debug|error"
)
_SECRET_NAME: Final = re.compile(
    r"key|token|secret|passw|passphrase|pwd|credential|auth|private|signature|dsn", re.IGNORECASE
)
_ANSI: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # an operating system's command: titles, links, the clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # strings for devices
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, cursor
    r"|\x1b[ -/]*[0-~]?"
)
_UNQUIET: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
    r"|[\U000e0000-\U000e007f]"
)
_PEM_BEGIN: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{2,40}-----")
_PEM_END: Final = re.compile(r"-----END [A-Z0-9 ]{2,40}-----")
#: Shapes of secrets whoever they belong to; the first group stays.
_SHAPES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(mk_live_)[0-9A-Za-z]{4,}",
        r"\b((?:sk|rk|pk)[-_](?:live_|test_|proj-|ant-|or-)?)[A-Za-z0-9_-]{12,}",
        r"\b((?:hf|whsec|npm|dckr_pat|gh[pousr]|github_pat)_)[A-Za-z0-9_-]{12,}",
        r"\b((?:glpat|xox[abprs])-)[A-Za-z0-9-]{10,}",
        r"\b(A[KS]IA)[0-9A-Z]{12,}",
        r"\b(eyJ)[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
        r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}",
        r"(?i)\b((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)[^\"',;\r\n]+",
        r"(?i)\b((?:x-api-key|api-key|cookie|set-cookie)[\"']?\s*[:=]\s*[\"']?)[^\"'\r\n]+",
        r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/?#@:]*:)[^\s/?#]+(?=@)",
        r"(?i)([?&](?:[a-z0-9_-]*(?:token|key|secret|password|signature)|sig)=)[^&\s\"'<>]+",
        r"(?i)\b([a-z0-9_.-]*(?:passw(?:or)?d|passphrase|secret|api[_-]?key|private[_-]?key|credentials?)"
        r"[\"']?\s*[=:]\s*[\"']?)[^\s\"',;}]{3,}",
        r"(?i)\b((?:[a-z0-9_.-]*[_.-])?(?:access|auth|api|hf|refresh|session|registry|id)[_-]?token"
        r"[\"']?\s*[=:]\s*[\"']?)[^\s\"',;}]{6,}",
    )
)
#: What engines print of a request when something is wrong with it, or when they are told to print more.
_PROMPT: Final = re.compile(
    r"(?is)((?:\bprompt|\bcontent|\bmessages|\binput|\btext|\blast read|\brequest(?: body)?)[\"']?\s*[:=]\s*)"
    r"([\"'\[{]).*"
)
#: Complaints of llama-server that quote what they complain of: a request's, or a grammar that was made of its schema.
_QUOTED: Final = re.compile(r"(got exception: |error parsing grammar: |^\s*[\w-]+ ::= ).+")
_PROMPT_LEFT_OUT: Final = "(left out: it may be somebody's words)"


class Redactor:
    """Masks one text line by line: a PEM block goes on over lines. ``secrets``: values as :func:`secrets_of` finds."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(sorted({text for secret in secrets for text in _forms(secret)}, key=len, reverse=True))
        self._is_in_pem = False

    def line(self, text: str) -> str:
        """What may be shown of the next line."""
        quiet = quieted(text)
        quiet = self._without_pem(quiet)
        quiet = self._without_secrets(quiet)
        for shape in _SHAPES:
            quiet = shape.sub(rf"\1{MASK}", quiet)
        for quoting in (_PROMPT, _QUOTED):
            quiet = quoting.sub(rf"\1{_PROMPT_LEFT_OUT}", quiet)
        return _cut(quiet)

    def text(self, text: str) -> str:
        """What may be shown of the next lines."""
        # A value of several short lines is known by all of them together.
        return "\n".join(self.line(line) for line in self._without_secrets(text).split("\n"))

    def _without_secrets(self, text: str) -> str:
        """Spans that overlap are masked as one: none may leave an end of another behind."""
        spans: list[tuple[int, int]] = []
        for secret in self._secrets:
            at = text.find(secret)
            while at >= 0:
                spans.append((at, at + len(secret)))
                at = text.find(secret, at + 1)
        if not spans:
            return text
        shown, done = [], 0
        for begin, end in sorted(spans):
            if begin >= done:
                shown += [text[done:begin], MASK]
            done = max(done, end)
        return "".join([*shown, text[done:]])

    def _without_pem(self, text: str) -> str:
        shown = ""
        while text:
            if self._is_in_pem:
                end = _PEM_END.search(text)
                if end is None:
                    return shown + MASK
                shown, text, self._is_in_pem = shown + MASK + end[0], text[end.end() :], False
                continue
            begin = _PEM_BEGIN.search(text)
            if begin is None:
                return shown + text
            shown, text, self._is_in_pem = shown + text[: begin.end()], text[begin.end() :], True
        return shown


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """What may be shown of ``text``, which may have many lines."""
    return Redactor(secrets).text(text)


def secrets_of(variables: Mapping[str, str]) -> frozenset[str]:
    """The values among a tenant's ``variables`` that must not be shown: all but the very short and the commonplace;
    those of a variable that is called a key, a token, a password … from four characters on, whatever they are."""
    found: set[str] = set()
    for name, value in variables.items():
        if len(value) < _SHORTEST:
            continue
        if _SECRET_NAME.search(name) or not _PLAIN.fullmatch(value.lower()):
            found.add(value)
    return frozenset(found)


def quieted(text: str) -> str:
    """``text`` without what steers a terminal or turns its direction; what overwrites a line by returning to its
    beginning leaves what would be seen: the last."""
    if "\r" in text:
        text = next((part for part in reversed(text.split("\r")) if part.strip()), "")
    text = _ANSI.sub("", text)
    return _UNQUIET.sub(_picture, text)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return " " if unicodedata.category(found[0]) in {"Zl", "Zp"} else "\ufffd"


def _cut(text: str) -> str:
    if len(text) <= LINE_MOST:
        return text
    return f"{text[:LINE_MOST]} … {len(text) - LINE_MOST:,} more characters"


def _forms(secret: str) -> Iterable[str]:
    """How a value may be printed: as it is, line by line, and in the encodings that programs put values into."""
    quiet = quieted(secret)
    lines = [line.strip() for line in secret.splitlines() if len(line.strip()) >= 2 * _SHORTEST]
    coded = base64.b64encode(secret.encode(errors="replace")).decode().rstrip("=")
    forms = [secret, quiet, *lines, json.dumps(secret)[1:-1], quote(secret, safe=""), coded]
    return (form for form in forms if len(form) >= _SHORTEST)
