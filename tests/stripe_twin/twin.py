"""The state behind the server: one account, its idempotency keys, its faults, the journal of every call, and the
test's side of it all."""

import json
import threading
import time
from typing import Any

from tests.stripe_twin import checkout, giving_back, invoices, meters, routes, webhooks
from tests.stripe_twin.account import Account, Json, Refusal
from tests.stripe_twin.faults import Faults
from tests.stripe_twin.idempotency import Keys, content_of


class Twin:
    """Answers calls one at a time, but for those that a script delays."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.base = ""
        self.forget()

    def forget(self) -> None:
        """An empty account, as at the start."""
        self.account = Account(base=self.base)
        self.keys = Keys()
        self.faults = Faults()
        self.journal: list[Json] = []
        self._metering: set[str] = set()

    def answer(self, method: str, path: str, given: Json, key: str | None) -> tuple[int, Json, str]:
        """Status, body, and the kind of fault that happens to this call."""
        with self.lock:
            fault = self.faults.next(method, path) or {"kind": ""}
            entry: Json = {"method": method, "path": path, "given": given, "key": key, "fault": fault["kind"]}
            self.journal.append(entry)
            content = content_of(method, path, given)
            known = self._before(method, path, given, key, content, str(fault["kind"]))
            if known is not None:
                entry.update(status=known[0], is_replay=known[0] not in {409, 429})
                return known[0], known[1], "" if fault["kind"] == "429" else str(fault["kind"])
        if fault["kind"] == "latency":
            time.sleep(float(fault.get("seconds", 1)))
        with self.lock:
            status, body, is_kept = self._work(method, path, given, str(fault["kind"]))
            entry.update(status=status, is_replay=False)
            if key and method == "POST":
                kept = (status, body) if is_kept else None
                self.keys.end(key, content, self.account.now(), kept)
            self._metering.discard(_metered(path, given))
            return status, json.loads(json.dumps(body)), str(fault["kind"])

    def _before(
        self, method: str, path: str, given: Json, key: str | None, content: str, fault: str
    ) -> tuple[int, Json] | None:
        too_many = {"error": {"type": "rate_limit_error", "message": "Too many requests."}}
        if fault == "429":
            return 429, too_many
        known = self.keys.known(key, content, self.account.now()) if key and method == "POST" else None
        if known is not None:
            return known
        whose = _metered(path, given)
        if whose and whose in self._metering:
            return 429, too_many  # one call at a time for a customer and meter
        if whose:
            self._metering.add(whose)
        if key and method == "POST":
            self.keys.begin(key)
        return None

    def _work(self, method: str, path: str, given: Json, fault: str) -> tuple[int, Json, bool]:
        if fault == "500":
            return 500, {"error": {"type": "api_error", "message": "Something went wrong."}}, True
        try:
            return 200, routes.call(self.account, method, path, given), True
        except Refusal as refusal:
            return refusal.status, refusal.body, refusal.is_kept

    def page(self, reference: str, number: str) -> str:
        """The customer pays, or saves a card, on a page; where they go next. Raises Refusal."""
        with self.lock:
            found = self.account.objects.get(reference)
            if found is None:
                raise Refusal(404, "There is no such page.")
            if found["object"] == "invoice":
                return invoices.pay_on_page(self.account, found, number)
            checkout.expire_old(self.account)
            return checkout.complete(self.account, found, number)

    def control(self, verb: str, given: Json) -> Any:
        """The test's side."""
        if verb == "deliver":
            with self.lock:
                plan = webhooks.planned(self.account, given)
            return webhooks.deliver(plan, given["url"])
        with self.lock:
            match verb:
                case "forget":
                    self.forget()
                case "clock":
                    self.account.clock_offset += int(given["seconds"])
                case "faults":
                    self.faults.script(given)
                case "chaos":
                    self.faults.chaos(given)
                case "journal":
                    return self.journal
                case "invoices":
                    return self.account.all("invoice")
                case "items":
                    return self.account.all("invoiceitem")
                case "all":
                    return self.account.all(given["kind"])
                case "events":
                    return [webhooks.signed(self.account, event, given["secret"]) for event in self.account.events]
                case "plan":
                    return webhooks.planned(self.account, given)
                case "dispute":
                    return giving_back.open_dispute(self.account, given["payment_intent"], given.get("amount"))
                case "close_dispute":
                    return giving_back.close_dispute(self.account, given["id"], given["status"])
                case "refund":
                    return giving_back.refund(self.account, given)
                case "meter":
                    return meters.create(self.account, given)
                case "fail_refund":
                    giving_back.fail_refund(self.account, given["id"])
                case "change":
                    self.account.objects[given["id"]].update(given["fields"])
                case "invoice":
                    return getattr(invoices, given["does"])(self.account, {}, given["id"])
                case _:
                    raise AssertionError(f"the twin has no {verb}")
        return {}


def _metered(path: str, given: Json) -> str:
    """Whose meter a call writes; empty for any other."""
    payload = given.get("payload")
    if path != "/v1/billing/meter_events" or not isinstance(payload, dict):
        return ""
    return f"{given.get('event_name')}:{payload.get('stripe_customer_id')}"
