"""A key's limits, networks and priority: one change, all of it or nothing."""

import threading

import pytest
from django.db import connections, transaction

from moorage.accounts import limits as accounts_limits
from moorage.accounts.errors import InvalidAccount
from moorage.accounts.models import ApiKey, AuditEntry, Priority, SubjectLimit
from moorage.wire.limits import NO_LIMITS, Limits
from tests.cast import Cast
from tests.waiting import wait_until, waiting_for_a_lock

WANTED = Limits(tokens_per_day=100)


def audited(key: ApiKey) -> list[str]:
    """What was done to ``key`` since it was made."""
    entries = AuditEntry.objects.filter(subject=key.pk).exclude(action="key.created")
    return sorted(entries.values_list("action", flat=True))


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    """A key without limits."""
    cast.alice.key()
    return ApiKey.objects.get()


def test_all_problems_are_told_at_once_and_nothing_changes(cast: Cast, key: ApiKey) -> None:
    with pytest.raises(InvalidAccount) as refusal:
        accounts_limits.set_key_limits(
            key=key,
            limits=Limits(requests_per_minute=-1, money_per_day=10**22, tokens_per_day=100),
            networks=["10.0.0.0/8", "home", "192.0.2.1/24"],
            priority=Priority.HIGH,
            by=cast.alice.actor,
        )

    for named in ("requests_per_minute", "money_per_day", "'home'", "'192.0.2.1/24'"):
        assert named in refusal.value.message
    assert "tokens_per_day" not in refusal.value.message
    assert (key.networks, key.priority) == ([], Priority.NORMAL)
    key.refresh_from_db()
    assert (key.networks, key.priority) == ([], Priority.NORMAL)
    assert not SubjectLimit.objects.exists()
    assert audited(key) == []


def test_the_first_problem_names_the_field(cast: Cast, key: ApiKey) -> None:
    fields = {}
    for networks, limits in {("home",): Limits(tokens_per_day=-1), (): Limits(tokens_per_day=-1)}.items():
        with pytest.raises(InvalidAccount) as refusal:
            accounts_limits.set_key_limits(
                key=key, limits=limits, networks=networks, priority=None, by=cast.alice.actor
            )
        fields[networks] = refusal.value.param

    assert fields == {("home",): "networks", (): "tokens_per_day"}


def test_each_thing_that_changed_has_its_audit_entry_and_nothing_else_has(cast: Cast, key: ApiKey) -> None:
    by = cast.alice.actor

    accounts_limits.set_key_limits(key=key, limits=WANTED, networks=["10.0.0.1"], priority=Priority.LOW, by=by)
    assert audited(key) == ["key.networks_changed", "key.priority_changed", "limits.changed"]
    accounts_limits.set_key_limits(key=key, limits=WANTED, networks=["10.0.0.1/32"], priority=None, by=by)
    assert len(audited(key)) == 3, "nothing changed"
    accounts_limits.set_key_limits(key=key, limits=NO_LIMITS, networks=["10.0.0.1"], priority=Priority.LOW, by=by)

    assert audited(key) == ["key.networks_changed", "key.priority_changed", "limits.changed", "limits.changed"]
    entry = AuditEntry.objects.get(subject=key.pk, action="key.networks_changed")
    assert (entry.detail["before"], entry.detail["after"]) == ([], ["10.0.0.1/32"])


def test_two_changes_of_one_key_follow_each_other(committed_cast: Cast) -> None:
    committed_cast.alice.key()
    key = ApiKey.objects.get()
    by = committed_cast.alice.actor

    def change() -> None:
        accounts_limits.set_key_limits(
            key=ApiKey.objects.get(pk=key.pk), limits=NO_LIMITS, networks=["10.0.0.2"], priority=Priority.HIGH, by=by
        )
        connections.close_all()

    second = threading.Thread(target=change)
    with transaction.atomic():
        accounts_limits.set_key_limits(key=key, limits=WANTED, networks=["10.0.0.1"], priority=Priority.LOW, by=by)
        second.start()
        wait_until(waiting_for_a_lock, seconds=30)
    second.join(30)

    key.refresh_from_db()
    assert (key.networks, key.priority) == (["10.0.0.2/32"], Priority.HIGH)
    assert not SubjectLimit.objects.exists()
    last = AuditEntry.objects.filter(subject=key.pk, action="key.networks_changed").latest("at")
    assert (last.detail["before"], last.detail["after"]) == (["10.0.0.1/32"], ["10.0.0.2/32"])
