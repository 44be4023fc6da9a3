"""`./manage.py prove_ledger`: adds the books up again, prints what was added up, exits 1 where something differs."""

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from moorage.billing import ledger
from moorage.kernel.money import Money


class Command(BaseCommand):
    """For a person, and for a timer that watches the exit status."""

    requires_system_checks = []
    help = "Add the ledger up again: transactions, revenue, receivables, wallets. Exits 1 where something differs."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Proves, prints, exits."""
        proof = ledger.prove()
        self.stdout.write(f"{proof.transactions} transactions, {sum(one.entries for one in proof.totals)} entries")
        for one in proof.totals:
            self.stdout.write(f"  {one.account:<22}{Money(one.pico, one.currency)!s:>32}{one.entries:>12} entries")
        for currency in sorted({one.currency for one in proof.totals}):
            total = sum(one.pico for one in proof.totals if one.currency == currency)
            self.stdout.write(f"  {'sum':<22}{Money(total, currency)!s:>32}")
        if may_change_the_books():
            self.stderr.write("This login may change what is posted: see Database roles in deploy/README.md.")
        differences = list(proof.differences())
        for sentence in differences:
            self.stderr.write(sentence)
        if differences:
            sys.exit(1)
        self.stdout.write("Everything adds up.")


def may_change_the_books() -> bool:
    """Whether the database would let this login change, remove or truncate what is posted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('ledger_entry', 'UPDATE, DELETE, TRUNCATE')")
        return bool(cursor.fetchone()[0])
