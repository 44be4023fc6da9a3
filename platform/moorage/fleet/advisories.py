"""Is what a host runs containers with known to let them out? Versions against the advisories that matter here. Pure.

Only what reaches a runner of ours is listed. Faults of published ports, of ``docker cp`` and of authorization plugins
are not: no runner has a network, nothing is ever copied into one, and no plugin stands before the Engine.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Final

Version = tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advisory:
    """One known way out, and the first release of each line that closed it."""

    id: str
    what: str
    fixed: tuple[Version, ...]
    #: Releases of distributions that carry the change under an older number, by how their version begins.
    backported: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is known about one part of a host. ``is_safe`` is None where its version cannot be read."""

    part: str
    version: str
    is_safe: bool | None
    open_advisories: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """For people."""
        if self.is_safe is None:
            return f"{self.part} does not say which version it is."
        if self.is_safe:
            return f"{self.part} {self.version} has the fixes of every advisory that is known here."
        return f"{self.part} {self.version} lacks the fix of {', '.join(self.open_advisories)}. Update it."


_RUNC_2025: Final = ((1, 2, 8), (1, 3, 3), (1, 4, 0))
#: https://github.com/opencontainers/runc/security/advisories; the Debian release is the one of DSA-5615-1.
_ADVISORIES: Final[Mapping[str, tuple[Advisory, ...]]] = {
    "runc": (
        Advisory(
            id="CVE-2024-21626",
            what="a working directory that leads to the host's files",
            fixed=((1, 1, 12),),
            backported=("1.1.5+ds1-1+deb12u",),
        ),
        Advisory(id="CVE-2025-31133", what="masked paths that are links", fixed=_RUNC_2025),
        Advisory(id="CVE-2025-52565", what="a console that is a link", fixed=_RUNC_2025),
        Advisory(id="CVE-2025-52881", what="writes to /proc that are led elsewhere", fixed=_RUNC_2025),
    ),
}
_NUMBERS: Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def verdict(part: str, *, version: str, build: str = "") -> Verdict:
    """What is known of ``part`` (``runc``) at ``version``; ``build`` is what a distribution calls its own build."""
    found = _NUMBERS.match(version)
    if found is None:
        return Verdict(part=part, version=version or "unknown", is_safe=None)
    numbers = tuple(int(each or 0) for each in found.groups())
    missing = tuple(
        advisory.id
        for advisory in _ADVISORIES.get(part, ())
        if not _is_fixed(numbers, advisory.fixed) and not build.startswith(advisory.backported or ("\0",))
    )
    return Verdict(part=part, version=build or version, is_safe=not missing, open_advisories=missing)


def _is_fixed(version: Version, fixed: tuple[Version, ...]) -> bool:
    """Within a line of releases from its own fix on; every line after the last of those that were fixed is later."""
    for first in fixed:
        if version[:2] == first[:2]:
            return version >= first
    return version > max(fixed)
