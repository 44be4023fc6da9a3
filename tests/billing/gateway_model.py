"""A gateway worker as the state machine sees it: it leases money by the SQL that a real one calls, holds what a request
may cost at most, and tells what was used."""

import dataclasses
import datetime as dt
import json
import uuid

from django.db import connection

from moorage.metering import usage_table
from moorage.metering.copy_rows import CopyRows
from moorage.metering.models import ShippedBoot
from moorage.wire.records import Outcome
from tests.billing.measured import request

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: The allowance is there for good (kernel.window).
FOREVER = 9_223_372_036_854_775_807


@dataclasses.dataclass(kw_only=True)
class Hold:
    """What a running request may cost at most."""

    tokens: int
    pico: int


@dataclasses.dataclass(kw_only=True)
class Worker:
    """One boot of one worker, and what it believes of its lease."""

    organization_id: str
    boot_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    number: int = 0
    amount: int = 0
    spent: int = 0
    holds: list[Hold] = dataclasses.field(default_factory=list)
    #: A report whose answer was lost: told again, word for word, before anything else.
    unanswered: tuple[int, int, int, int] | None = None

    @property
    def free(self) -> int:
        """What it may still promise to a request."""
        told = self.unanswered[1] + self.unanswered[2] if self.unanswered else 0
        return self.amount - told - self.spent - sum(hold.pico for hold in self.holds)

    def hold(self, tokens: int, pico_per_token: int) -> bool:
        """Promises what so many tokens may cost; False: 402."""
        if tokens * pico_per_token > self.free:
            return False
        self.holds.append(Hold(tokens=tokens, pico=tokens * pico_per_token))
        return True

    def capture(self, hold: Hold, *, tokens: int, pico_per_token: int, ended_at: dt.datetime) -> int:
        """The request ended after ``tokens``: its event is shipped. What it cost."""
        self.holds.remove(hold)
        pico = tokens * pico_per_token
        assert pico <= hold.pico, "the gateway cuts a stream at what it holds"
        self.spent += pico
        self.ship(tokens=tokens, ended_at=ended_at)
        return pico

    def ship(self, *, tokens: int, ended_at: dt.datetime, outcome: Outcome = "completed") -> None:
        """The event of a request."""
        event = request(self.organization_id, tokens=(0, 0, tokens), ended_at=ended_at, outcome=outcome)
        usage_table.put_batch(CopyRows(self.boot_id).batch([event]))

    def report(self, *, target: int, give: int, now: dt.datetime, is_answer_lost: bool = False) -> None:
        """Tells what was used, gives back, asks for more."""
        if self.unanswered is not None:
            number, spent, given, told_until = self.unanswered
            self._take(self._call(number, spent, given, target, told_until))
            self.unanswered = None
            return
        given = min(give, max(0, self.free))
        self.number += 1
        told_until = (now - EPOCH) // dt.timedelta(microseconds=1)
        answer = self._call(self.number, self.spent, given, target, told_until)
        if is_answer_lost:
            self.unanswered = (self.number, self.spent, given, told_until)
            self.spent = 0
        else:
            self.spent = 0
            self._take(answer)

    def repeat(self) -> None:
        """The last report again, by a network that delivers twice."""
        self._call(self.number, 10**15, 10**15, 0, 0)

    def die(self, *, ended_at: dt.datetime, tokens: int, pico_per_token: int) -> int:
        """``kill -9``: what was held is settled from the journal, some of it as used. What that cost."""
        cost = 0
        for hold in self.holds:
            used = min(tokens, hold.tokens)
            self.ship(tokens=used, ended_at=ended_at, outcome="gateway_lost")
            cost += used * pico_per_token
        self.holds = []
        ShippedBoot.objects.create(boot_id=self.boot_id)
        return cost

    @staticmethod
    def reap() -> int:
        """The leases of dead workers are taken back, as any live gateway does it; how many."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT reap_gateway_leases()")
            return int(cursor.fetchone()[0])

    def _take(self, row: list[int] | None) -> None:
        self.amount = row[1] if row else 0

    def _call(self, number: int, spent: int, given: int, target: int, until_us: int) -> list[int] | None:
        asked = {"n": 0, "subject": self.organization_id, "measure": "money", "window": "always", "starts": 0}
        asked |= {"ends": FOREVER, "spent": spent, "given": given, "enough": min(target, 1), "target": target}
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT gateway_lease(%s, %s, %s, %s)::text",
                [self.boot_id, number, until_us, json.dumps([{**asked, "call": False}])],
            )
            rows: list[list[int]] = json.loads(cursor.fetchone()[0])["rows"]
        return rows[0] if rows else None
