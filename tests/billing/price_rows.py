"""Prices for billing's tests, as rows and as strategies."""

import datetime as dt

from hypothesis import strategies as st

from moorage.accounts.models import Organization
from moorage.billing import tiers
from moorage.billing.models import Meter, Price
from moorage.billing.tiers import Tier
from tests.billing.measured import OCTOBER

TOKENS = (Meter.INPUT_TOKENS, Meter.CACHED_INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.REQUESTS)


def put(
    meter: Meter,
    pico: int,
    *,
    model: str = "*",
    organization: Organization | None = None,
    valid_from: dt.datetime = OCTOBER.start,
    valid_to: dt.datetime | None = None,
    graduated: tuple[Tier, ...] = (),
    state: str = "",
    device_class: str = "",
) -> Price:
    """A price as it lies in the table, without the rules of setting one."""
    return Price.objects.create(
        meter=meter,
        model=model,
        organization=organization,
        state=state,
        device_class=device_class,
        pico_per_unit=tiers.dearest(graduated) if graduated else pico,
        tiers=tiers.as_json(graduated),
        valid_from=valid_from,
        valid_to=valid_to,
        created_by="test",
    )


graduations = st.lists(
    st.tuples(st.integers(1, 3000), st.integers(0, 10**6)), max_size=4, unique_by=lambda pair: pair[0]
).flatmap(
    lambda later: st.integers(0, 10**6).map(
        lambda first: (
            Tier(begins=0, pico=first),
            *(Tier(begins=begins, pico=pico) for begins, pico in sorted(later)),
        )
    )
)
