"""A key that was used at the gateway says so."""

import datetime as dt

from moorage.accounts import queries as accounts
from moorage.kernel import clock
from moorage.metering import usage_table
from tests.billing.measured import request
from tests.cast import Cast


def test_a_shipped_request_marks_its_key_as_used(cast: Cast) -> None:
    key = accounts.key_for_secret(cast.alice.key())
    assert key is not None and key.last_used_at is None
    now = clock.now()

    def ship(at: dt.datetime) -> None:
        event = request(cast.alice.organization.pk, tokens=(1, 0, 1), ended_at=at)
        usage_table.put([type(event)(**{**{f: getattr(event, f) for f in event.__struct_fields__}, "key_id": key.pk})])

    ship(now)
    key.refresh_from_db()
    assert key.last_used_at == now
    ship(now - dt.timedelta(hours=1))
    key.refresh_from_db()
    assert key.last_used_at == now, "an older request arriving late is no news"
