"""Limits and budgets over REST: set as a whole, shown with how they stand, refused with the field's name."""

import msgspec
import pytest
from django.db import connection

from moorage.accounts.models import Allowance, ApiKey, AuditEntry, SubjectLimit
from moorage.deployments.models import Deployment
from moorage.kernel import clock, window
from moorage.kernel.window import Window
from moorage.wire.records import KeyGrant, OrganizationGrant
from tests.api.conftest import Caller, error_of
from tests.billing.tampering import tamper
from tests.cast import Cast


def grant_of(cast: Cast) -> OrganizationGrant:
    """What a gateway reads of Alice's organization."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT document::text FROM gateway_organization WHERE id = %s", [cast.alice.organization.pk])
        return msgspec.json.decode(cursor.fetchone()[0], type=OrganizationGrant)


def test_limits_are_set_as_a_whole_and_reach_the_gateways(alice: Caller, cast: Cast) -> None:
    answer = alice("PUT", "limits", {"requests_per_minute": 60, "money_per_month": "12.5", "tokens_per_day": 0})

    assert answer.status_code == 200
    assert answer.json()["limits"]["money_per_month"] == "12.50"
    limits = grant_of(cast).limits
    assert (limits.requests_per_minute, limits.money_per_month, limits.tokens_per_day) == (60, 12_500_000_000_000, 0)

    alice("PUT", "limits", {"requests_per_minute": 5})

    assert dict.fromkeys(["requests_per_minute"], 5) == {
        name: value for name, value in alice.get("limits")["limits"].items() if value is not None
    }
    assert grant_of(cast).limits.money_per_month is None


def test_no_limits_leave_no_row(alice: Caller, cast: Cast) -> None:
    alice("PUT", "limits", {"requests_per_minute": 60})
    alice("PUT", "limits", {})

    assert not SubjectLimit.objects.exists()
    assert not grant_of(cast).limits


def test_a_deployments_limits_are_in_its_organizations_document(alice: Caller, cast: Cast) -> None:
    alice.put("demo")

    answer = alice("PUT", "deployments/demo/limits", {"tokens_per_month": 1000})

    assert answer.status_code == 200
    assert grant_of(cast).deployments[Deployment.objects.get().pk].tokens_per_month == 1000
    assert alice.get("deployments/demo/limits")["limits"]["tokens_per_month"] == 1000


def test_a_key_is_made_with_limits_and_networks(alice: Caller, cast: Cast) -> None:
    made = alice(
        "POST",
        "keys",
        {"name": "app", "limits": {"concurrent_requests": 3}, "networks": ["192.0.2.7", "2001:db8::/32"]},
    ).json()

    with connection.cursor() as cursor:
        cursor.execute("SELECT document::text FROM gateway_key WHERE id = %s", [made["id"]])
        grant = msgspec.json.decode(cursor.fetchone()[0], type=KeyGrant)
    assert made["networks"] == ["192.0.2.7/32", "2001:db8::/32"]
    assert grant.networks == ("192.0.2.7/32", "2001:db8::/32")
    assert grant.limits.concurrent_requests == 3
    assert alice.get(f"keys/{made['id']}/limits")["limits"]["concurrent_requests"] == 3


def test_a_key_is_made_with_a_priority_that_reaches_the_gateways(alice: Caller) -> None:
    made = alice("POST", "keys", {"name": "night batch", "priority": "low"}).json()
    refused = alice("POST", "keys", {"name": "app", "priority": "highest"})

    with connection.cursor() as cursor:
        cursor.execute("SELECT document::text FROM gateway_key WHERE id = %s", [made["id"]])
        grant = msgspec.json.decode(cursor.fetchone()[0], type=KeyGrant)
    assert (made["priority"], grant.priority) == ("low", "low")
    assert error_of(refused, 422)["param"] == "priority"


def test_a_keys_limits_and_networks_change_together_and_are_audited(alice: Caller, cast: Cast) -> None:
    key = ApiKey.objects.for_organization(cast.alice.organization).get()

    answer = alice("PUT", f"keys/{key.pk}/limits", {"tokens_per_minute": 100, "networks": ["10.0.0.0/8"]})

    assert answer.json()["networks"] == ["10.0.0.0/8"]
    key.refresh_from_db()
    assert key.networks == ["10.0.0.0/8"]
    actions = AuditEntry.objects.filter(subject=key.pk).values_list("action", flat=True)
    assert {"limits.changed", "key.networks_changed"} <= set(actions)
    entry = AuditEntry.objects.get(subject=key.pk, action="limits.changed")
    assert entry.detail["after"] == {"tokens_per_minute": 100}


def test_a_key_keeps_all_it_had_when_a_part_of_the_change_cannot_be_written(alice: Caller, cast: Cast) -> None:
    key = ApiKey.objects.for_organization(cast.alice.organization).get()
    tamper("ALTER TABLE subject_limit ADD CONSTRAINT full_up CHECK (false)")

    body = {"networks": ["10.0.0.0/8"], "priority": "high", "tokens_per_minute": 100}
    answer = alice("PUT", f"keys/{key.pk}/limits", body)

    assert answer.status_code == 500
    key.refresh_from_db()
    assert (key.networks, key.priority) == ([], "normal")
    assert not AuditEntry.objects.filter(subject=key.pk).exclude(action="key.created").exists()


def test_all_that_is_wrong_with_a_keys_networks_is_told_at_once(alice: Caller, cast: Cast) -> None:
    key = ApiKey.objects.for_organization(cast.alice.organization).get()

    answer = alice("PUT", f"keys/{key.pk}/limits", {"networks": ["home", "10.0.0.0/8", "10.0.0.0/33"]})

    error = error_of(answer, 422)
    assert error["param"] == "networks"
    assert "'home'" in error["message"]
    assert "'10.0.0.0/33'" in error["message"]


def test_a_keys_priority_changes_where_it_is_named_and_gateways_are_told(alice: Caller, cast: Cast) -> None:
    key = ApiKey.objects.for_organization(cast.alice.organization).get()

    raised = alice("PUT", f"keys/{key.pk}/limits", {"priority": "high"}).json()
    left = alice("PUT", f"keys/{key.pk}/limits", {}).json()
    refused = alice("PUT", f"keys/{key.pk}/limits", {"priority": "urgent"})

    with connection.cursor() as cursor:
        cursor.execute("SELECT document ->> 'priority' FROM gateway_key WHERE id = %s", [key.pk])
        assert cursor.fetchone() == ("high",)
        cursor.execute(
            "SELECT count(*) FROM pg_trigger JOIN pg_attribute ON attrelid = tgrelid AND attnum = ANY (tgattr::int2[])"
            " WHERE tgname = 'api_key_changed' AND attname = 'priority'"
        )
        assert cursor.fetchone() == (1,), "nobody is told of it"
    assert (raised["priority"], left["priority"]) == ("high", "high")
    assert error_of(refused, 422)["param"] == "priority"
    entry = AuditEntry.objects.get(subject=key.pk, action="key.priority_changed")
    assert (entry.detail["before"], entry.detail["after"]) == ("normal", "high")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"tokens_per_day": 10**16}, "tokens_per_day"),
        ({"money_per_day": "-0.01"}, "money_per_day"),
        ({"money_per_month": "0.0000000000001"}, "money_per_month"),
        ({"money_per_month": "1000000001"}, "money_per_month"),
        ({"concurrent_requests": "many"}, "concurrent_requests"),
        ({"requests_per_hour": 5}, "requests_per_hour"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fields_name(
    alice: Caller, body: dict[str, object], field: str
) -> None:
    error = error_of(alice("PUT", "limits", body), 422)

    assert error["param"] == field
    assert not SubjectLimit.objects.exists()


@pytest.mark.parametrize("network", ["192.0.2.1/24", "harbour", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused(alice: Caller, cast: Cast, network: str) -> None:
    key = ApiKey.objects.for_organization(cast.alice.organization).get()

    error = error_of(alice("PUT", f"keys/{key.pk}/limits", {"networks": [network]}), 422)

    assert error["param"].startswith("networks")


def test_uses_say_what_is_left_and_until_when(alice: Caller, cast: Cast) -> None:
    alice("PUT", "limits", {"money_per_day": "2.00", "requests_per_minute": 9})
    starts, ends = window.bounds(Window.DAY, int(clock.now().timestamp()))
    Allowance.objects.create(
        organization=cast.alice.organization,
        subject=cast.alice.organization.pk,
        measure="money",
        window="day",
        starts=starts,
        ends=ends,
        capacity=2 * 10**12,
        ceiling=2 * 10**12,
        used=5 * 10**11,
        leased=25 * 10**10,
    )

    uses = {use["name"]: use for use in alice.get("limits")["uses"]}

    assert uses["money_per_day"] == {
        "name": "money_per_day",
        "limit": "2.00",
        "used": "0.50",
        "set_aside": "0.25",
        "remaining": "1.25",
        "resets_at": window.text(ends),
    }
    assert uses["requests_per_minute"]["remaining"] == "9"


def test_a_lowered_limit_keeps_what_is_used(alice: Caller, cast: Cast) -> None:
    alice("PUT", "limits", {"tokens_per_month": 100})
    starts, ends = window.bounds(Window.MONTH, int(clock.now().timestamp()))
    row = Allowance.objects.create(
        organization=cast.alice.organization,
        subject=cast.alice.organization.pk,
        measure="tokens",
        window="month",
        starts=starts,
        ends=ends,
        capacity=100,
        ceiling=100,
        used=80,
    )

    alice("PUT", "limits", {"tokens_per_month": 50})
    row.refresh_from_db()
    assert [int(row.capacity), int(row.ceiling), int(row.used)] == [50, 100, 80]

    alice("PUT", "limits", {"tokens_per_month": 200})
    row.refresh_from_db()
    assert [int(row.capacity), int(row.ceiling)] == [200, 200]
