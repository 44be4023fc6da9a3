"""A served name belongs to one deployment of an organization: what clients send as ``model`` must be unambiguous."""

from moorage.accounts.models import Organization
from moorage.deployments.draft import Draft
from moorage.deployments.errors import ServedNameTaken
from moorage.deployments.models import Deployment
from moorage.deployments.pins import Pin


def check_served_names(organization: Organization, prepared: Draft) -> None:
    """Raises ServedNameTaken if another deployment's target serves a model under a name of ``prepared``."""
    wanted = {pin.served_name: pin for pin in prepared.pins}
    others = (
        Deployment.objects.for_organization(organization)
        .not_deleted()
        .exclude(name=prepared.name)
        .exclude(target=None)
        .select_related("target")
    )
    for other in others:
        assert other.target is not None
        for document in other.target.pins.values():
            pin = Pin.from_json(document)
            if pin.served_name in wanted:
                raise ServedNameTaken(
                    f"The deployment {other.name} serves {pin.served_name} already. Choose another name for"
                    f" models.{wanted[pin.served_name].model_key}.",
                    param=f"models.{wanted[pin.served_name].model_key}.name",
                )
