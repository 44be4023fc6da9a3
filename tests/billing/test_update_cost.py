"""What an update costs while both revisions run: each extra replica at the price of the devices that it would get."""

import pytest

from moorage.billing.models import Meter
from moorage.billing.update_cost import extra_cost
from moorage.deployments import forecast, services
from moorage.deployments.forecast import Forecast
from moorage.deployments.models import Replica, ReplicaStatus, Revision
from moorage.fleet import declared_pool
from moorage.kernel import clock
from moorage.kernel.money import Money
from tests.billing.price_rows import put
from tests.cast import Cast

POOL = {
    "nodes": [
        {"name": "gpu-1", "memory": "64g", "cpus": 8, "gpus": [{"name": "NVIDIA H200", "memory": "141g"}]},
        {"name": "quay-1", "memory": "16g", "cpus": 8},
    ]
}


def compose(context: int, more: str = "") -> str:
    return f"""
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: {context}
    x-moorage: {{scale: {{min: 1, idle: never}}{more}}}
"""


@pytest.fixture
def prices(db: None) -> None:
    """A second costs 5 on any device, 70 on an H200, 30 on three eighths of one."""
    for device_class, pico in {"": 5, "NVIDIA H200": 70, "3/8 NVIDIA H200": 30}.items():
        put(Meter.REPLICA_SECONDS, pico, device_class=device_class)


def cost(cast: Cast, one: Forecast) -> Money | None:
    return extra_cost(one, organization=cast.alice.organization, now=clock.now())


def replaced(**more: object) -> Forecast:
    """Two more replicas for 9.2 seconds, unless told otherwise."""
    known = {"extra_replicas": 2, "extra_seconds": 9.2, **more}
    return Forecast(model_key="llm", served_name="demo/llm", change="replace", **known)  # type: ignore[arg-type]


def test_each_extra_replica_costs_what_its_own_devices_cost(cast: Cast, prices: None) -> None:
    assert cost(cast, replaced(device_classes=("NVIDIA H200", "cpu"))) == Money(10 * (70 + 5), "USD")
    assert cost(cast, replaced(device_classes=("3/8 NVIDIA H200",) * 2)) == Money(10 * 60, "USD")


def test_what_nobody_knows_the_devices_of_costs_what_any_does(cast: Cast, prices: None) -> None:
    assert cost(cast, replaced(device_classes=("NVIDIA H200",))) == Money(10 * (70 + 5), "USD")
    assert cost(cast, replaced()) == Money(10 * (5 + 5), "USD")


def test_what_nobody_knows_the_time_of_has_no_cost(cast: Cast, prices: None) -> None:
    assert cost(cast, replaced(extra_seconds=None)) is None


@pytest.mark.parametrize(
    ("more", "device_class", "pico"),
    [("", "cpu", 5), (", gpus: 1", "NVIDIA H200", 70), (", gpu_memory: 50g", "3/8 NVIDIA H200", 30)],
)
def test_a_forecast_names_the_devices_that_the_model_would_get(
    cast: Cast, prices: None, more: str, device_class: str, pico: int
) -> None:
    declared_pool.declare(declared_pool.parse(POOL))
    by = cast.alice.actor
    for context in (256, 512):
        applied = services.apply(
            organization=cast.alice.organization, name="demo", compose_text=compose(context, more), by=by
        )
        Replica.objects.create(
            deployment=applied.deployment,
            revision=applied.revision,
            model_key="llm",
            status=ReplicaStatus.READY,
            ready_at=clock.now(),
        )

    (one,) = forecast.of_revision(applied.deployment, Revision.objects.get(number=1))

    assert one.device_classes == (device_class,)
    assert one.class_words == ("" if device_class == "cpu" else device_class)
    assert one.has_room is True
    assert cost(cast, replaced(device_classes=one.device_classes, extra_replicas=1)) == Money(10 * pico, "USD")
