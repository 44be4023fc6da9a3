"""The rater's SQL against the pure rule: the same lines, to the row."""

import datetime as dt

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.accounts.models import Organization
from moorage.billing import rater, rating
from moorage.billing.models import Meter, RatedUsage, UnratedUsage
from moorage.billing.rating import NoPrice, Source
from moorage.metering import usage_table
from moorage.metering.models import ReplicaUsage
from moorage.wire.records import UsageEvent
from tests.billing.measured import OCTOBER, request
from tests.billing.price_rows import TOKENS, graduations, put
from tests.cast import Cast

STATES = ("", "idle", "busy")
DEVICES = ("", "h200", "h200-half", "l4")
_days = st.integers(0, 40).map(lambda day: OCTOBER.start + dt.timedelta(days=day))
_listed = st.fixed_dictionaries(
    {
        "meter": st.sampled_from(TOKENS),
        "pico": st.integers(0, 10**9),
        "model": st.sampled_from(("*", "demo/*", "demo/llm", "quay")),
        "owner": st.integers(0, 2),
        "valid_from": _days,
        "valid_to": st.none() | _days,
        "graduated": st.just(()) | graduations,
    }
)
_timed = st.fixed_dictionaries(
    {
        "pico": st.integers(0, 10**9),
        "owner": st.integers(0, 2),
        "valid_from": _days,
        "state": st.sampled_from(STATES),
        "device_class": st.sampled_from(("", "*", "h200*", "l4")),
        "graduated": st.just(()) | graduations,
    }
)
_used = st.tuples(
    st.sampled_from(("demo/llm", "demo/other", "quay")),
    st.integers(0, 1),
    _days,
    st.integers(0, 900),
    st.integers(0, 900),
)
_ran = st.tuples(st.integers(0, 1), _days, st.integers(1, 3600), st.sampled_from(STATES), st.sampled_from(DEVICES))


def _of_event(event: UsageEvent, ended_at: dt.datetime) -> Source:
    return Source(
        id=event.request_id,
        organization_id=event.organization_id,
        deployment_id=event.deployment_id,
        revision_id=event.revision_id,
        key_id=event.key_id,
        served_name=event.served_name,
        ended_at=ended_at,
        quantities=rating.request_quantities(
            input_tokens=event.input_tokens, cached_tokens=event.cached_tokens, output_tokens=event.output_tokens
        ),
    )


def _of_time(row: ReplicaUsage) -> Source:
    return Source(
        id=row.id,
        organization_id=row.organization_id,
        deployment_id=row.deployment_id,
        revision_id=row.revision_id,
        key_id="",
        served_name=row.model_key,
        ended_at=row.ended_at,
        quantities=((Meter.REPLICA_SECONDS, row.seconds),),
        state=row.state,
        device_class=row.device_class,
    )


def _measure(
    organizations: tuple[Organization, Organization],
    used: list[tuple[str, int, dt.datetime, int, int]],
    ran: list[tuple[int, dt.datetime, int, str, str]],
) -> list[Source]:
    events = [
        (request(organizations[owner].id, tokens=(a, min(a, b), b), ended_at=at, served_name=name), at)
        for name, owner, at, a, b in used
    ]
    usage_table.put([event for event, _ in events])
    times = [
        ReplicaUsage.objects.create(
            organization_id=organizations[owner].id,
            deployment_id="dep_a",
            revision_id="rev_gone",
            replica_id=f"rep_{number}",
            model_key="quay",
            state=state,
            device_class=device,
            seconds=seconds,
            started_at=at - dt.timedelta(seconds=seconds),
            ended_at=at,
        )
        for number, (owner, at, seconds, state, device) in enumerate(ran)
    ]
    return [*(_of_event(*pair) for pair in events), *(_of_time(row) for row in times)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    listed=st.lists(
        _listed, max_size=14, unique_by=lambda one: (one["meter"], one["model"], one["owner"], one["valid_from"])
    ),
    timed=st.lists(
        _timed, max_size=6, unique_by=lambda one: (one["owner"], one["valid_from"], one["state"], one["device_class"])
    ),
    used=st.lists(_used, max_size=20),
    ran=st.lists(_ran, max_size=6),
)
def test_a_batch_adds_the_lines_of_the_pure_rule(
    cast: Cast,
    listed: list[dict[str, object]],
    timed: list[dict[str, object]],
    used: list[tuple[str, int, dt.datetime, int, int]],
    ran: list[tuple[int, dt.datetime, int, str, str]],
) -> None:
    owners = (cast.alice.organization, cast.charlie.organization, None)
    with transaction.atomic():
        for one in listed + [{**one, "meter": Meter.REPLICA_SECONDS} for one in timed]:
            begins, ends = one["valid_from"], one.get("valid_to")
            if ends is not None and ends < begins:  # type: ignore[operator]
                one = {**one, "valid_to": None}
            put(
                **{**{key: value for key, value in one.items() if key != "owner"}, "organization": owners[one["owner"]]}
            )  # type: ignore[arg-type,index]
        sources = _measure((cast.alice.organization, cast.charlie.organization), used, ran)
        book, counted, expected, waiting = rater.price_book(), {}, set(), set()
        for source in sorted(sources, key=lambda source: source.id):
            lines = rating.rate(source, book, counted)
            if isinstance(lines, NoPrice):
                waiting.add((source.id, str(lines.meter), source.served_name))
                continue
            for key, quantity in rating.counted(lines).items():
                counted[key] = counted.get(key, 0) + quantity
            expected |= {
                (
                    *(line.source.id, line.source.organization_id, line.source.served_name, line.source.ended_at),
                    *(str(line.meter), line.quantity, line.price_id, line.pico_per_unit, line.amount_pico),
                    *(line.tier, line.part),
                )
                for line in lines
            }

        rater.rate_all()

        found = RatedUsage.objects.values_list(
            *("source_id", "organization_id", "served_name", "ended_at", "meter", "quantity", "price_id"),
            *("pico_per_unit", "amount_pico", "tier", "part"),
        )
        assert set(found) == expected
        assert set(UnratedUsage.objects.values_list("source_id", "unpriced_meter", "unpriced_model")) == waiting
        transaction.set_rollback(True)
