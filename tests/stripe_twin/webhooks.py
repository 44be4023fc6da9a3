"""Webhooks: signed events, delivered late, twice, out of order, or never, by script."""

import hashlib
import hmac
import json
import random
import urllib.error
import urllib.request

from tests.stripe_twin.account import Account, Json


def signed(account: Account, event: Json, secret: str, *, age_seconds: int = 0) -> Json:
    """An event's bytes and the header that signs them."""
    payload = json.dumps(event)
    moment = account.now() - age_seconds
    mac = hmac.new(secret.encode(), f"{moment}.{payload}".encode(), hashlib.sha256).hexdigest()
    return {"payload": payload, "signature": f"t={moment},v1={mac}", "id": event["id"], "type": event["type"]}


def planned(account: Account, given: Json) -> list[Json]:
    """What is delivered, in this order: every event since ``skip``, ``copies`` times, ``lost`` per cent of them never,
    shuffled where there is a ``seed``, signed ``age_seconds`` ago."""
    chance = random.Random(given.get("seed", 0))
    events = account.events[int(given.get("skip", 0)) :]
    copies = [event for event in events for _ in range(int(given.get("copies", 1)))]
    kept = [event for event in copies if chance.randrange(100) >= int(given.get("lost", 0))]
    if "seed" in given:
        chance.shuffle(kept)
    return [signed(account, event, given["secret"], age_seconds=int(given.get("age_seconds", 0))) for event in kept]


def deliver(plan: list[Json], url: str) -> list[int]:
    """Posts what was planned; the statuses of the answers."""
    statuses = []
    for one in plan:
        headers = {"Stripe-Signature": one["signature"], "Content-Type": "application/json"}
        request = urllib.request.Request(url, data=one["payload"].encode(), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                statuses.append(int(answer.status))
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
    return statuses
