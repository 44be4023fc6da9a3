"""What a comparison finds, as a sentence that a person can act on. Pure."""

import dataclasses
import datetime as dt
from typing import Final

#: So many are kept of one run; all of them are counted.
KEPT_MOST: Final = 50


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference, and what it is about: whichever ids are known lead to a page."""

    code: str
    sentence: str
    #: An id or a name, for copying.
    subject: str
    organization_id: str = ""
    request_id: str = ""
    invoice_id: str = ""
    deployment_id: str = ""

    def to_json(self) -> dict[str, str]:
        """As it is kept."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one run found. Clean: it looked at ``compared`` facts and nothing differs."""

    compared: int
    findings: tuple[Finding, ...] = ()
    #: All that differ, where more were found than are listed.
    finding_count: int | None = None
    #: What could not be compared, and why.
    note: str = ""

    @property
    def count(self) -> int:
        """All that differs."""
        return max(len(self.findings), self.finding_count or 0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Facts that arrived in ``[since, until)`` are looked at; ``now`` is later."""

    since: dt.datetime
    until: dt.datetime
    now: dt.datetime
