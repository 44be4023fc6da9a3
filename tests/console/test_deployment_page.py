"""A deployment's page: where it stands, what it needs, and the parts that htmx asks for again."""

import re

from django.test import Client, override_settings

from moorage.deployments.models import (
    Deployment,
    DeploymentStatus,
    Replica,
    ReplicaLog,
    ReplicaStatus,
    Route,
    RouteActivity,
)
from moorage.kernel import clock
from tests.cast import Cast
from tests.console.pages import text_of

PAGE = "/harbour/deployments/demo"


def settle() -> None:
    Replica.objects.update(status=ReplicaStatus.READY)
    Deployment.objects.update(status=DeploymentStatus.READY, reason="Serves requests.")


def seen_in(page: str) -> str:
    found = re.search(r"live\?seen=(\w+)", page)
    assert found is not None
    return found[1]


def test_progress_is_in_words_and_the_page_asks_again_every_second(alice: Client, deployment: Deployment) -> None:
    page = text_of(alice.get(PAGE))

    assert "pulling 3.1 MB of 7.8 MB" in page
    assert '<progress max="7800000" value="3100000">' in page
    assert 'hx-trigger="every 1s"' in page
    assert "--ctx-size" in page


def test_nothing_is_sent_again_once_nothing_moves(alice: Client, deployment: Deployment) -> None:
    settle()
    page = text_of(alice.get(PAGE))

    again = alice.get(f"{PAGE}/live?seen={seen_in(page)}")
    Deployment.objects.update(reason="Something else.")
    changed = alice.get(f"{PAGE}/live?seen={seen_in(page)}")

    assert 'hx-trigger="every 5s"' in page
    assert again.status_code == 204
    assert changed.status_code == 200
    assert "Something else." in text_of(changed)
    assert 'id="replicas" aria-labelledby="replicas-head" hx-swap-oob="true"' in text_of(changed)


def test_a_deployment_that_is_gone_sends_the_page_to_the_list(alice: Client, deployment: Deployment) -> None:
    Deployment.objects.update(status=DeploymentStatus.DELETED)

    response = alice.get(f"{PAGE}/live")

    assert response["HX-Redirect"] == "/harbour"


def test_the_environment_of_a_service_is_a_file(alice: Client, deployment: Deployment) -> None:
    response = alice.get(f"{PAGE}/environment?service=app")

    assert "LLM_MODEL=demo/llm\n" in text_of(response)
    assert response["Content-Disposition"] == 'attachment; filename="demo.app.env"'
    assert alice.get(f"{PAGE}/environment?service=other").status_code == 404


@override_settings(MOORAGE_GATEWAY_URL="https://gateway.example", MOORAGE_GATEWAY_DOMAIN="models.example")
def test_where_organizations_have_host_names_every_page_shows_theirs(alice: Client, deployment: Deployment) -> None:
    pages = [text_of(alice.get(path)) for path in ("/harbour", PAGE, f"{PAGE}/environment?service=app")]

    assert all("https://harbour.models.example/v1" in page for page in pages)
    assert not any("https://gateway.example" in page for page in pages)


def test_the_list_tells_replicas_last_request_and_cost_and_sorts(
    alice: Client, cast: Cast, deployment: Deployment
) -> None:
    settle()
    Route.objects.create(
        id=f"{deployment.pk}:llm",
        organization=cast.alice.organization,
        deployment=deployment,
        model_key="llm",
        served_name="demo/llm",
        document={},
    )
    RouteActivity.objects.create(
        route_id=f"{deployment.pk}:llm", gateway_id="gw", last_request_at=clock.now(), reported_at=clock.now()
    )

    page = text_of(alice.get("/harbour?sort=cost"))

    row = page[page.index("<tbody>") : page.index("</tbody>")]
    assert "1/1" in row
    assert "just now" in row
    assert "0.00 USD" in row
    assert 'aria-sort="descending"><a href="?sort=cost">' in page


def test_the_log_stays_readable_after_the_replica(alice: Client, deployment: Deployment) -> None:
    replica = deployment.replicas.get()
    Replica.objects.update(status=ReplicaStatus.GONE)
    ReplicaLog.objects.create(replica=replica, text="listening <b>now</b>", fetched_at=clock.now())

    page = alice.get(f"{PAGE}/replicas/{replica.pk}/log")
    part = alice.get(f"{PAGE}/replicas/{replica.pk}/log", headers={"HX-Request": "true"})

    assert "listening &lt;b&gt;now&lt;/b&gt;" in text_of(page)
    assert text_of(part).startswith("<pre")
    assert alice.get(f"{PAGE}/replicas/rep_other/log").status_code == 404
