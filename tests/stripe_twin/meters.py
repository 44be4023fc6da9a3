"""Meters, their events and sums: identifiers count once a day, and each event lies within 35 days and five minutes."""

from collections import defaultdict

from tests.stripe_twin.account import Account, Json, Refusal

_DAY = 24 * 3600
_HOUR = 3600


def create(account: Account, given: Json) -> Json:
    """``POST /v1/billing/meters``."""
    if any(one["event_name"] == given["event_name"] for one in account.all("billing.meter")):
        raise Refusal(400, f"There is a meter for {given['event_name']} already.")
    return account.add(
        "mtr",
        "billing.meter",
        display_name=given["display_name"],
        event_name=given["event_name"],
        default_aggregation=given["default_aggregation"],
        status="active",
    )


def listing(account: Account, given: Json) -> Json:
    """``GET /v1/billing/meters``."""
    return account.listed("billing.meter", given)


def take(account: Account, given: Json) -> Json:
    """``POST /v1/billing/meter_events``."""
    if not any(one["event_name"] == given["event_name"] for one in account.all("billing.meter")):
        raise Refusal(400, f"No active meter found for event name {given['event_name']}.")
    payload = given["payload"]
    value = str(payload.get("value", ""))
    digits = value.removeprefix("-")
    if not digits.isdecimal():
        raise Refusal(400, f"The value must be a whole number, not {value}.")
    if len(digits) > 15:
        raise Refusal(400, "The value has too many digits.", code="meter_event_value_too_many_digits")
    now = account.now()
    at = int(given.get("timestamp", now))
    if at > now + 300:
        raise Refusal(400, "The timestamp is in the future.", code="timestamp_in_future")
    if at < now - 35 * _DAY:
        raise Refusal(400, "The timestamp is too far in the past.", code="timestamp_too_far_in_past")
    identifier = given.get("identifier") or f"made{account.made}"
    for known in account.all("billing.meter_event"):
        if known["identifier"] == identifier and now - known["created"] < _DAY:
            raise Refusal(400, f"An event already exists with identifier {identifier}.")
    return account.add(
        "mev",
        "billing.meter_event",
        event_name=given["event_name"],
        identifier=identifier,
        payload=payload,
        timestamp=at,
    )


def summaries(account: Account, given: Json, meter: str) -> Json:
    """``GET /v1/billing/meters/{id}/event_summaries``, by the hour."""
    name = account.find(meter, "billing.meter")["event_name"]
    start, end = int(given["start_time"]), int(given["end_time"])
    if start % 60 or end % 60:
        raise Refusal(400, "Times must be aligned with minute boundaries.")
    sums: dict[int, int] = defaultdict(int)
    for one in account.all("billing.meter_event"):
        is_theirs = one["payload"].get("stripe_customer_id") == given["customer"] and one["event_name"] == name
        if is_theirs and start <= one["timestamp"] < end:
            sums[one["timestamp"] // _HOUR * _HOUR] += int(one["payload"]["value"])
    found = [
        {
            "id": f"mtrsum_{hour}",
            "object": "billing.meter_event_summary",
            "aggregated_value": value,
            "start_time": hour,
            "end_time": hour + _HOUR,
            "created": hour,
            "livemode": False,
            "meter": meter,
        }
        for hour, value in sorted(sums.items())
    ]
    return account.page(found, given)
