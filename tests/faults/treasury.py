"""The money path as real processes: journal, shipper, rater, closer, sender, web, applier, and a twin of Stripe.

A till writes journals as gateways do, customers pay what they find open at the twin, and a postman delivers the twin's
events, each at least twice, until the web process has taken them.
"""

import contextlib
import dataclasses
import datetime as dt
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psycopg

from moorage.kernel.clock import Period
from moorage.wire import journal
from tests.faults.harbour import Harbour, _free_port
from tests.metering.journals import Boot, opened
from tests.stripe_twin.process import API_KEY, SECRET, TwinProcess
from tests.waiting import wait_until
from tests.wire.events import event

WORKERS = ("rater", "closer", "sender", "applier", "shopper", "refunder", "exporter")
METER = "moorage_usage_microusd"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Treasury(Harbour):
    """A harbour without gateways, with billing's workers and the console's web process."""

    def __init__(self, root: Path, *, twin: TwinProcess, is_celery: bool = False) -> None:
        self.web_port = _free_port()
        self._is_celery = is_celery
        super().__init__(
            root,
            gateways=0,
            engines=0,
            MOORAGE_FAULT_BEGAN=str(int(time.time())),
            MOORAGE_REVIEW_FIRST_INVOICE="no",
            MOORAGE_CONSOLE_URL=f"http://127.0.0.1:{self.web_port}",
            STRIPE_API_KEY=API_KEY,
            STRIPE_WEBHOOK_SECRET=SECRET,
            STRIPE_BASE_URL=twin.url,
            MOORAGE_STRIPE_METER=METER,
        )

    def _add_parts(self, engines: int) -> None:
        super()._add_parts(engines)
        celery = (sys.executable, "-m", "celery", "-A", "tests.faults.money_celery:app")
        if self._is_celery:
            how = ("--queues", "money", "--concurrency", "2", "--without-gossip", "--without-mingle", "-l", "WARNING")
            self._add("celery", *celery, "worker", *how)
            self._add("beat", *celery, "beat", "--schedule", str(self.root / "beat"), "--pidfile", "", "-l", "WARNING")
        else:
            for name in WORKERS:
                self._add(name, sys.executable, "-m", "tests.faults.money_worker", name)
        gunicorn = (sys.executable, "-m", "gunicorn", "moorage.config.wsgi:application", "--no-control-socket")
        how = ("--bind", f"127.0.0.1:{self.web_port}", "--worker-class", "gthread", "--workers", "1", "--threads", "4")
        self._add("web", *gunicorn, *how)

    @property
    def webhook_url(self) -> str:
        """Where the twin's events go."""
        return f"http://127.0.0.1:{self.web_port}/webhooks/stripe"

    def seed(self, organizations: int) -> list[str]:
        """Makes customers; their ids."""
        return list(json.loads(self.python("-m", "tests.faults.money_worker", "seed", str(organizations))))

    def state(self) -> str:
        """For whoever asks why nothing moves."""
        said = [f"{name}: {part.starts} starts\n{self.log(name)[-1500:]}" for name, part in self.parts.items()]
        for query in (
            "SELECT pid, state, wait_event, now() - query_start, left(query, 200) FROM pg_stat_activity",
            "SELECT topic, attempts, next_attempt_at, parked_at, last_error FROM outbox_message WHERE sent_at IS NULL"
            " ORDER BY created_at LIMIT 8",
            "SELECT kind, object_id, attempts, next_attempt_at, last_error FROM webhook_event WHERE applied_at IS NULL"
            " ORDER BY received_at LIMIT 8",
        ):
            said += [str(row) for row in self.rows_when_back(query)]
        return "\n".join(said)

    def rows_when_back(self, query: str) -> list[tuple[Any, ...]]:
        """As ``rows``; a database that is away is waited for."""
        found: list[list[tuple[Any, ...]]] = []

        def asked() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                found.append(self.rows(query))
            return bool(found)

        wait_until(asked, seconds=60, what="the database")
        return found[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sale:
    """A request as the till has written it: the client's journal."""

    request_id: str
    organization_id: str
    ended: dt.datetime
    tokens: tuple[int, int, int]


class Till:
    """Writes the requests of one organization after the other, in months that are over."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self.sales: list[Sale] = []
        self._chance = chance
        self._boot = Boot(directory=directory, id="till").start()
        # The last month that is closed by now: the provider's meter takes nothing that is older than 35 days.
        self._until = Period.containing(dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=3)).start
        self._since = Period.containing(self._until - dt.timedelta(days=1)).start

    def sell(self, organization_id: str, *, requests: int) -> None:
        """Some requests in a segment of their own."""
        sold = [self._sale(organization_id) for _ in range(requests)]
        records: list[journal.Record] = []
        for sale in sold:
            ended_at_us = (sale.ended - _EPOCH) // dt.timedelta(microseconds=1)
            closed = event(
                request_id=sale.request_id,
                organization_id=organization_id,
                input_tokens=sale.tokens[0],
                cached_tokens=sale.tokens[1],
                output_tokens=sale.tokens[2],
                started_at_us=ended_at_us - 1_000_000,
                first_token_at_us=ended_at_us - 500_000,
                ended_at_us=ended_at_us,
            )
            records += [opened(closed), journal.Close(event=closed)]
        self.sales += sold
        self._boot.rotate(*records)

    def close(self) -> None:
        """It ends, and what it wrote is all there is."""
        self._boot.die()

    def _sale(self, organization_id: str) -> Sale:
        chance, length = self._chance, (self._until - self._since) // dt.timedelta(microseconds=1)
        prompt = chance.randint(0, 90_000)
        return Sale(
            request_id=event().request_id,
            organization_id=organization_id,
            ended=self._since + dt.timedelta(microseconds=chance.randrange(length)),
            tokens=(prompt, chance.randint(0, prompt), chance.randint(0, 90_000)),
        )


class _Outsider:
    """Somebody beside the platform who does something again and again until told to stop."""

    every_seconds = 0.1

    def __init__(self, twin: TwinProcess) -> None:
        self._twin = twin
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the last round is over."""
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(self.every_seconds):
            self._go_round()

    def _go_round(self) -> None:
        raise NotImplementedError


class Customers(_Outsider):
    """Pay whatever they find open at the twin: invoices and Checkout pages."""

    def _go_round(self) -> None:
        for kind in ("invoice", "checkout.session"):
            for one in self._twin.all(kind):
                if one["status"] == "open":
                    self._pay(one["id"])

    def _pay(self, reference: str) -> None:
        try:
            self._twin.pay(reference)
        except urllib.error.HTTPError as error:
            error.close()  # somebody has paid or voided it meanwhile


class Bank(_Outsider):
    """Pays back and takes back, past us: some payments of top-ups are refunded in the provider's dashboard, some are
    disputed, and the banks decide. Which ones, their amount says."""

    every_seconds = 0.3

    def __init__(self, twin: TwinProcess) -> None:
        self._done: set[str] = set()
        super().__init__(twin)

    def left(self) -> int:
        """How many payments it has not looked at yet."""
        return sum(one["payment_intent"] not in self._done for one in self._paid())

    def _paid(self) -> list[Any]:
        return [one for one in self._twin.all("checkout.session") if one["status"] == "complete"]

    def _go_round(self) -> None:
        for session in self._paid():
            if session["payment_intent"] not in self._done:
                with contextlib.suppress(urllib.error.HTTPError, OSError):
                    self._look(session["payment_intent"], session["amount_total"] - 100)
                    self._done.add(session["payment_intent"])

    def _look(self, payment: str, number: int) -> None:
        if number % 12 == 9:
            self._twin.control("refund", payment_intent=payment, amount=30)
        elif number % 12 == 3:
            dispute = self._twin.control("dispute", payment_intent=payment)
            self._twin.control("close_dispute", id=dispute["id"], status="lost" if number % 24 == 3 else "won")


class Postman(_Outsider):
    """Delivers the twin's events in some order, each twice, and comes back until they are taken."""

    def __init__(self, twin: TwinProcess, url: str, chance: random.Random) -> None:
        self.delivered = 0
        self.refused: set[int] = set()
        self._url, self._chance = url, chance
        self._known = 0
        super().__init__(twin)

    def _go_round(self) -> None:
        count = len(self._twin.signed_events())
        plan = self._twin.planned(skip=self._known, copies=2, seed=self._chance.randrange(1 << 30))
        self._known = min(count, self._known + len(plan) // 2)
        for payload, signature in plan:
            while not self._stop.is_set() and not self._is_taken(payload, signature):
                self._stop.wait(0.1)

    def _is_taken(self, payload: bytes, signature: str) -> bool:
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        request = urllib.request.Request(self._url, data=payload, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10):
                self.delivered += 1
                return True
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                self.refused.add(error.code)
                return True
            return False
        except (OSError, TimeoutError):
            return False


def freeze(pid: int, seconds: float) -> None:
    """Nobody reaches the process for a while; what it knows it keeps."""
    os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(seconds)
    os.kill(pid, signal.SIGCONT)
