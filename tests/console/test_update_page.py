"""An update on its deployment's page: both revisions with their figures, the verdict, the two buttons that end it."""

import pytest
from django.test import Client

from moorage.billing.pricing import ensure_default_prices
from moorage.deployments import services as deployments
from moorage.deployments.models import Deployment, Replica, ReplicaStatus, Update, UpdateState
from moorage.kernel import clock
from tests.cast import Cast
from tests.console.conftest import COMPOSE
from tests.console.pages import text_of

PAGE = "/harbour/deployments/demo"
CANARY = COMPOSE.replace(
    "services:", "    context_size: 256\n    x-moorage: {update: {canary: {weight: 10, for: 5m}}}\nservices:"
)


def side(requests: int, errors: int, first_token: float) -> dict[str, object]:
    return {
        "requests": requests,
        "errors": errors,
        "error_share": errors / requests,
        "first_token_seconds": first_token,
        "tokens_per_second": 48.2,
    }


@pytest.fixture
def trial(cast: Cast, deployment: Deployment) -> Update:
    """Revision 2 on trial beside revision 1, judged once."""
    Replica.objects.update(status=ReplicaStatus.READY, reason="The engine has answered one real token.")
    applied = deployments.apply(
        organization=cast.alice.organization, name="demo", compose_text=CANARY, by=cast.alice.actor
    )
    Replica.objects.create(
        deployment=deployment,
        revision=applied.revision,
        model_key="llm",
        status=ReplicaStatus.READY,
        reason="The engine has answered one real token.",
    )
    why = "46 requests, nothing speaks against it; 237 s to go."
    figures = {"baseline": side(412, 0, 0.11), "canary": side(46, 1, 0.12), "verdict": "continue", "why": why}
    Update.objects.update(trial_since=clock.now(), judged_at=clock.now(), figures={"llm": figures})
    return Update.objects.get()


def test_both_revisions_stand_side_by_side_with_what_they_answered(alice: Client, trial: Update) -> None:
    page = text_of(alice.get(PAGE))

    assert "Update to revision 2" in page and "On trial" in page
    assert "llm: 46 requests, nothing speaks against it; 237 s to go." in page
    assert "90 %" in page and "10 %" in page
    assert "412" in page and "0.12 s" in page
    assert "Promote now" in page and "Roll back to revision 1" in page


def test_the_part_is_sent_again_while_an_update_is_under_way(alice: Client, trial: Update) -> None:
    assert 'id="update" aria-labelledby="update-head" hx-swap-oob="true"' in text_of(alice.get(f"{PAGE}/live"))


def test_promote_now_gives_it_all_requests(alice: Client, trial: Update) -> None:
    page = text_of(alice.post(f"{PAGE}/update/promote", follow=True))

    trial.refresh_from_db()
    assert trial.state == UpdateState.TAKING_OVER
    assert "Revision 2 takes over." in page
    assert "Promote now" not in page
    assert "No revision of the deployment is on trial" in text_of(alice.post(f"{PAGE}/update/promote", follow=True))


def test_roll_back_brings_the_one_before_back(alice: Client, trial: Update) -> None:
    page = text_of(alice.post(f"{PAGE}/update/roll-back", follow=True))

    trial.refresh_from_db()
    assert trial.state == UpdateState.ROLLED_BACK
    assert Deployment.objects.get().target_id == trial.baseline_id
    assert "Revision 1 serves again." in page


def test_a_stranger_ends_no_trial(cast: Cast, signed_in, trial: Update) -> None:  # type: ignore[no-untyped-def]
    charlie = signed_in(cast.charlie.user)

    assert charlie.post(f"{PAGE}/update/promote").status_code == 404
    assert charlie.post(f"{PAGE}/update/roll-back").status_code == 404
    trial.refresh_from_db()
    assert trial.state == UpdateState.TRIAL


def test_a_page_without_an_update_has_an_empty_part_for_one(alice: Client, deployment: Deployment) -> None:
    page = text_of(alice.get(PAGE))

    assert '<section id="update"' in page
    assert "Update to revision" not in page


def test_the_page_before_a_rollback_says_what_it_will_do(alice: Client, trial: Update) -> None:
    ensure_default_prices()

    page = text_of(alice.get(f"{PAGE}/roll-back/1"))

    assert "The other is not tried first" in page
    assert "context_size: 256 -&gt; 512" in page or "context_size" in page
