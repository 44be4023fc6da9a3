"""The verbs of deployments: who may, what is refused, and what is left unchanged then."""

import pytest

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.errors import OrganizationSuspended
from moorage.accounts.models import Standing
from moorage.compose import SpecInvalid
from moorage.deployments import preview, queries, services
from moorage.deployments.draft import draft
from moorage.deployments.errors import BeingDeleted, DeploymentNotFound, RevisionNotFound, ServedNameTaken
from moorage.deployments.models import Deployment
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE


def apply(cast: Cast, text: str = COMPOSE, name: str = "demo") -> services.Applied:
    return services.apply(organization=cast.alice.organization, name=name, compose_text=text, by=cast.alice.actor)


def test_a_stranger_finds_no_deployment(cast: Cast) -> None:
    apply(cast)

    assert queries.deployment(organization=cast.bob.organization, name="demo")
    with pytest.raises(DeploymentNotFound):
        queries.deployment(organization=cast.charlie.organization, name="demo")


def test_a_suspended_organization_starts_nothing(cast: Cast) -> None:
    deployment = apply(cast).deployment
    accounts.set_standing(
        organization=cast.alice.organization, standing=Standing.SUSPENDED, reason="unpaid", by=Actor.person(cast.ada)
    )

    with pytest.raises(OrganizationSuspended):
        apply(cast, name="another")
    with pytest.raises(OrganizationSuspended):
        services.resume(deployment=deployment, by=cast.alice.actor)
    services.delete(deployment=deployment, by=cast.alice.actor)
    assert Deployment.objects.count() == 1


def test_a_served_name_belongs_to_one_deployment_also_in_a_plan(cast: Cast) -> None:
    text = COMPOSE.replace("context_size: 256", "context_size: 256\n    name: helper")
    apply(cast, text)

    with pytest.raises(ServedNameTaken, match="demo serves helper already"):
        apply(cast, text, name="another")

    prepared = draft(organization=cast.alice.organization, name="another", compose_text=text, variables={})
    with pytest.raises(ServedNameTaken):
        preview.preview(organization=cast.alice.organization, draft=prepared)
    services.apply(organization=cast.charlie.organization, name="demo", compose_text=text, by=cast.charlie.actor)


def test_every_problem_of_file_and_artifact_comes_at_once_with_its_line(cast: Cast) -> None:
    text = """
models:
  one:
    model: catalog/nothing:here
  two:
    model: catalog/harbour:q8_0
    driver: vllm
  three:
    model: catalog/harbour:q8_0
    context_size: 100000
"""

    with pytest.raises(SpecInvalid) as refusal:
        apply(cast, text)

    found = {problem.path: problem.line for problem in refusal.value.problems if problem.severity == "error"}
    assert found == {"models.one.model": 4, "models.two.driver": 7, "models.three.context_size": 10}
    assert not Deployment.objects.exists()


def test_what_is_being_deleted_takes_no_new_revision(cast: Cast) -> None:
    deployment = apply(cast).deployment
    services.delete(deployment=deployment, by=cast.alice.actor)

    with pytest.raises(BeingDeleted):
        apply(cast)
    with pytest.raises(BeingDeleted):
        services.roll_back(deployment=deployment, number=1, by=cast.alice.actor)


def test_rolling_back_aims_at_an_earlier_revision(cast: Cast) -> None:
    deployment = apply(cast).deployment
    apply(cast, COMPOSE.replace("256", "128"))

    revision = services.roll_back(deployment=deployment, number=1, by=cast.alice.actor)

    deployment.refresh_from_db()
    assert (revision.number, deployment.target_id) == (1, revision.pk)
    with pytest.raises(RevisionNotFound):
        services.roll_back(deployment=deployment, number=9, by=cast.alice.actor)
