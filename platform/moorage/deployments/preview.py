"""What applying a file would do, in sentences and figures; nothing is written."""

import dataclasses

from moorage.accounts.models import Organization
from moorage.deployments import forecast
from moorage.deployments.draft import Draft
from moorage.deployments.models import Deployment
from moorage.deployments.pins import Pin
from moorage.deployments.queries import pins_of
from moorage.deployments.served_names import check_served_names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preview:
    """The plan of one draft."""

    draft: Draft
    is_new: bool
    is_changed: bool
    revision_number: int
    steps: tuple[str, ...]
    forecasts: tuple[forecast.Forecast, ...] = ()


def preview(*, organization: Organization, draft: Draft) -> Preview:
    """Compares a draft with what is wanted now. Raises ServedNameTaken, as applying it would."""
    check_served_names(organization, draft)
    existing = Deployment.objects.for_organization(organization).not_deleted().filter(name=draft.name).first()
    current = existing.target if existing else None
    same = existing.revisions.filter(content_hash=draft.content_hash).first() if existing else None
    last = existing.revisions.order_by("-number").first() if existing else None
    number = same.number if same else (last.number + 1 if last else 1)
    if current is not None and current.content_hash == draft.content_hash:
        nothing = ("Nothing changes: this is what is wanted already.",)
        return Preview(draft=draft, is_new=False, is_changed=False, revision_number=number, steps=nothing)
    found = forecast.forecasts(organization=organization, deployment=existing, spec=draft.spec, pins=draft.pins)
    before = {pin.model_key: pin for pin in pins_of(current)} if current else {}
    pins = {pin.model_key: pin for pin in draft.pins}
    steps = tuple(_step(one, pins.get(one.model_key) or before[one.model_key]) for one in found)
    return Preview(
        draft=draft,
        is_new=existing is None,
        is_changed=True,
        revision_number=number,
        steps=steps,
        forecasts=found,
    )


def _step(one: forecast.Forecast, pin: Pin) -> str:
    if one.change == "stop":
        return f"Stop {pin.served_name}."
    size = f"{pin.size_bytes / 1e6:.1f} MB, {pin.memory_bytes / 2**20:.0f} MiB of memory a replica"
    if one.change == "start":
        return f"Start {pin.served_name}: {pin.reference} on {pin.engine} ({size})."
    return f"Replace {pin.served_name}: {pin.reference} on {pin.engine} ({size}). {one.sentence}"
