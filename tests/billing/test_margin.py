"""Revenue, cost of devices and margin: whatever is shared adds up to what was there."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.accounts.actor import Actor
from moorage.billing import margin, margins, pricing, rater
from moorage.billing.margin import Earned, Ran, Row, Stood
from moorage.billing.models import Meter, RatedUsage
from moorage.fleet.models import Device, Node
from moorage.metering import services as metering
from tests.billing.measured import NOON, OCTOBER, price_list, use
from tests.cast import Cast
from tests.console.usage_rows import deployed

AFTER = OCTOBER.end + dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10, [1, 1, 1], (4, 3, 3)),
        (10, [0, 0, 5], (0, 0, 10)),
        (-10, [1, 1, 1], (-4, -3, -3)),
        (1, [0, 0], (1, 0)),
        (0, [3, 4], (0, 0)),
        (7, [], ()),
        (100, [1, 2, 3], (17, 33, 50)),
    ],
)
def test_a_share_is_by_largest_remainder(total: int, weights: list[int], parts: tuple[int, ...]) -> None:
    assert margin.share(total, weights) == parts


@given(total=st.integers(-(10**30), 10**30), weights=st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_shares_always_add_up_and_are_within_one_of_their_part(total: int, weights: list[int]) -> None:
    parts = margin.share(total, weights)

    assert sum(parts) == total
    if any(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part * sum(weights) - total * weight) < sum(weights)


_NAMES = st.sampled_from(["a", "b", "c"])
_PICO = st.integers(-(10**15), 10**15)
_EARNED = st.builds(
    Earned,
    organization_id=_NAMES,
    deployment_id=_NAMES,
    served_name=_NAMES,
    pico=_PICO,
    device_class=st.sampled_from([None, "H200", "L4"]),
)
_RAN = st.builds(
    Ran,
    organization_id=_NAMES,
    deployment_id=_NAMES,
    served_name=_NAMES,
    device_class=st.sampled_from(["H200", "L4", ""]),
    seconds=st.integers(0, 10**7),
    cost_pico=st.integers(0, 10**15),
)


@given(earned=st.lists(_EARNED, max_size=12), ran=st.lists(_RAN, max_size=12))
def test_every_table_comes_to_the_same_total(earned: list[Earned], ran: list[Ran]) -> None:
    made = margin.build(earned=earned, ran=ran)

    for table in (made.rows, made.by_organization, made.by_model, made.by_device_class):
        assert sum(row.revenue_pico for row in table) == sum(one.pico for one in earned) == made.total.revenue_pico
        assert sum(row.cost_pico for row in table) == sum(one.cost_pico for one in ran) == made.total.cost_pico
        assert sum(row.margin_pico for row in table) == made.total.margin_pico


def test_token_revenue_goes_where_the_deployment_ran() -> None:
    earned = Earned(organization_id="o", deployment_id="d", served_name="m", pico=100)
    ran = [
        Ran(organization_id="o", deployment_id="d", served_name="m", device_class="H200", seconds=3, cost_pico=30),
        Ran(organization_id="o", deployment_id="d", served_name="m", device_class="L4", seconds=1, cost_pico=1),
        Ran(organization_id="o", deployment_id="other", served_name="m", device_class="A", seconds=9, cost_pico=9),
    ]

    made = margin.build(earned=[earned], ran=ran)

    assert {row.device_class: (row.revenue_pico, row.cost_pico) for row in made.by_device_class} == {
        "H200": (75, 30),
        "L4": (25, 1),
        "A": (0, 9),
    }


def test_what_stood_idle_is_a_line_of_its_own_and_in_the_total() -> None:
    ran = Ran(organization_id="o", deployment_id="d", served_name="m", device_class="H200", seconds=10, cost_pico=100)

    made = margin.build(
        earned=[],
        ran=[ran],
        stood=[Stood(device_class="H200", seconds=25, cost_pico=250), Stood(device_class="L4", seconds=5, cost_pico=5)],
    )

    assert made.idle == (
        Row(device_class="H200", seconds=15, cost_pico=150),
        Row(device_class="L4", seconds=5, cost_pico=5),
    )
    assert (made.total.seconds, made.total.cost_pico) == (30, 255)
    assert made.by_device_class == (Row(device_class="H200", seconds=10, cost_pico=100),)


@pytest.mark.parametrize(
    ("device_class", "devices"),
    [
        ("NVIDIA H200", (("NVIDIA H200", 1),)),
        ("2 x NVIDIA H200", (("NVIDIA H200", 2),)),
        ("2 x NVIDIA H200 + L4", (("NVIDIA H200", 2), ("L4", 1))),
        ("Card x Two", (("Card x Two", 1),)),
        ("", (("", 1),)),
    ],
)
def test_a_class_names_its_devices(device_class: str, devices: tuple[tuple[str, int], ...]) -> None:
    assert margin.devices_of(device_class) == devices


def test_a_replica_on_two_devices_leaves_neither_idle() -> None:
    ran = Ran(
        organization_id="o", deployment_id="d", served_name="m", device_class="2 x H200", seconds=10, cost_pico=60
    )

    made = margin.build(earned=[], ran=[ran], stood=[Stood(device_class="H200", seconds=25, cost_pico=75)])

    assert made.idle == (Row(device_class="H200", seconds=5, cost_pico=15),)
    assert made.total.cost_pico == 75


def test_more_that_ran_than_stood_is_no_negative_idleness() -> None:
    ran = Ran(organization_id="o", deployment_id="d", served_name="m", device_class="H200", seconds=10, cost_pico=100)

    made = margin.build(earned=[], ran=[ran], stood=[Stood(device_class="H200", seconds=9, cost_pico=90)])

    assert made.idle == ()


def test_a_month_is_gathered_from_what_was_rated_and_metered(cast: Cast) -> None:
    price_list()
    ada = Actor.person(cast.ada)
    replica = deployed(cast.alice.organization)
    for pico, begin in ((7, OCTOBER.start), (9, NOON)):
        pricing.set_cost(
            meter=Meter.REPLICA_SECONDS, model="*", device_class="NVIDIA*", pico_per_unit=pico, valid_from=begin, by=ada
        )
    use(cast.alice.organization, deployment_id=replica.deployment_id)
    for ended_at in (NOON, NOON + dt.timedelta(hours=1)):
        metering.record_replica_time(
            organization_id=cast.alice.organization.pk,
            deployment_id=replica.deployment_id,
            revision_id=replica.revision_id,
            replica_id=replica.pk,
            model_key="llm",
            started_at=ended_at - dt.timedelta(seconds=60),
            ended_at=ended_at,
            device_class="NVIDIA H200",
        )
    rater.rate_all()
    node = Node.objects.create(name="n", memory_bytes=1, cpu_millis=1, runtime="memory", seen_at=AFTER)
    Node.objects.update(created_at=OCTOBER.end - dt.timedelta(seconds=1000))
    Device.objects.create(node=node, kind="gpu", vendor_id="GPU-1", name="NVIDIA H200", memory_bytes=1)

    made = margins.margin_of(OCTOBER, now=AFTER)

    (row,) = made.rows
    rated = sum(int(one) for one in RatedUsage.objects.values_list("amount_pico", flat=True))
    assert (row.organization_id, row.served_name, row.device_class) == (
        cast.alice.organization.pk,
        "demo/llm",
        "NVIDIA H200",
    )
    # The interval that ended at the very moment of the change costs what holds from then on.
    assert (row.seconds, row.cost_pico, row.revenue_pico) == (120, 120 * 9, rated)
    (idle,) = made.idle
    assert (idle.seconds, idle.cost_pico) == (880, 880 * 9)
    assert made.total.cost_pico == 1000 * 9
    assert made.total.margin_pico == rated - 9000
