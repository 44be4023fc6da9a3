"""The port to whoever knows what tax an invoice carries. The docstrings of the Protocol are its specification; one
contract suite (tests/contracts/test_tax.py) holds every adapter to it.

Tax is on the invoice, not in the statement: usage stays what it is, whoever taxes it. Which taxes a country has is
known to an adapter alone.
"""

import dataclasses
from typing import Protocol

from moorage.billing.rounding import BASIS_POINTS, part_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Taxed:
    """What is to be taxed: the due amount of an invoice, in whole cents, and who gets it."""

    organization_id: str
    due_cents: int
    currency: str
    #: ISO 3166, two letters; empty where the organization has not said.
    country: str = ""
    tax_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaxLine:
    """One tax on an invoice: its name as it is printed, its rate in hundredths of a percent, its whole cents."""

    name: str
    basis_points: int
    cents: int


class TaxRule(Protocol):
    """Says which tax lines an invoice carries. Called inside the transaction that gives the number: no network."""

    @property
    def name(self) -> str:
        """How settings choose it: ``none``, ``fixed``."""
        ...

    def lines(self, taxed: Taxed) -> tuple[TaxLine, ...]:
        """The tax lines, in the order they are printed in; none where nothing is taxed or due.

        The same question gets the same answer for as long as the settings are the same. Every line's cents are
        ``tax_of(taxed.due_cents, line.basis_points)``, so that anybody can recompute them. A line has a name of at most
        80 characters. Raises nothing: a rule that cannot decide says so with no line.
        """
        ...


def tax_of(due_cents: int, basis_points: int) -> int:
    """The published rule: due cents × rate, rounded once per line to whole cents, half away from zero. Pure."""
    return part_of(due_cents, basis_points, BASIS_POINTS)
