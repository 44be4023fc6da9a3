"""A Compose file in the browser: planned, refused line by line, uploaded, deployed, rolled back, ended."""

import re

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from moorage.accounts.models import Standing
from moorage.compose.problems import Problem
from moorage.console import compose_notes
from moorage.console.deployments import first_file
from moorage.deployments.models import Deployment, DeploymentStatus
from tests.cast import Cast
from tests.console.conftest import COMPOSE
from tests.console.pages import text_of

WRONG = "models:\n  llm:\n    modle: catalog/harbour:q8_0\n    context_size: many\n"
OTHER = COMPOSE.replace("q8_0", "q8_0\n    context_size: 512")
PAGE = "/harbour/deployments/demo"


def test_all_problems_stand_between_their_lines_and_the_text_is_kept(alice: Client) -> None:
    response = alice.post("/harbour/deploy", {"name": "demo", "compose": WRONG, "verb": "deploy"})

    page = text_of(response)
    assert response.status_code == 422
    listing = page[page.index('<ol class="listing">') : page.index("</ol>", page.index('<ol class="listing">'))]
    shown = re.findall(r'<li class="(line wrong|line|note error)"[^>]*>(.*?)</li>', listing)
    assert [kind for kind, _ in shown] == ["line", *["line wrong", "note error"] * 3]
    assert "Did you mean model?" in shown[4][1]
    assert "models.llm.context_size" in shown[6][1]
    assert "modle: catalog/harbour:q8_0\n    context_size: many" in page[page.index("<textarea") :]
    assert page.count('<li class="wrong">') == 3, "the numbers beside the text are marked"
    assert Deployment.objects.count() == 0


def test_the_plan_says_what_would_happen_and_writes_nothing(alice: Client) -> None:
    response = alice.post("/harbour/deploy", {"name": "demo", "compose": COMPOSE, "verb": "plan"})

    assert response.status_code == 200
    assert "Start demo/llm: catalog/harbour:q8_0 on llamacpp" in text_of(response)
    assert "ignores image" in text_of(response), "warnings stand at their lines"
    assert Deployment.objects.count() == 0


def test_deploying_leads_to_the_page_of_the_deployment(alice: Client) -> None:
    response = alice.post("/harbour/deploy", {"name": "demo", "compose": COMPOSE, "verb": "deploy"}, follow=True)

    assert response.redirect_chain == [(PAGE, 302)]
    assert Deployment.objects.get().target is not None
    page = text_of(response)
    assert "LLM_MODEL=demo/llm" in page
    assert "&quot;model&quot;: &quot;demo/llm&quot;" in page, "the curl line names this model"


def test_the_lines_that_an_empty_page_shows_can_be_deployed(alice: Client) -> None:
    empty = text_of(alice.get("/harbour"))
    lines = first_file()

    response = alice.post("/harbour/deploy", {"name": "first", "compose": lines, "verb": "deploy"})

    assert lines in empty
    assert len(lines.splitlines()) == 3
    assert response.status_code == 302


def test_an_uploaded_file_takes_the_place_of_the_text(alice: Client) -> None:
    file = SimpleUploadedFile("compose.yaml", WRONG.replace("\n", "\r\n").encode())

    response = alice.post("/harbour/deploy", {"name": "demo", "compose": COMPOSE, "file": file, "verb": "plan"})

    assert response.status_code == 422
    assert WRONG.strip() in text_of(response)


def test_a_file_that_is_too_large_or_not_text_is_refused_with_a_sentence(alice: Client) -> None:
    for content, sentence in [(b"#" * 65537, "larger than 64 KiB"), (b"\xff\xfe", "not text in UTF-8")]:
        file = SimpleUploadedFile("compose.yaml", content)
        response = alice.post("/harbour/deploy", {"name": "demo", "file": file, "verb": "plan"})

        assert response.status_code == 422
        assert sentence in text_of(response)


def test_variables_fill_the_file(alice: Client) -> None:
    text = COMPOSE.replace("q8_0", "${QUANT}")
    sent = {"name": "demo", "compose": text, "verb": "plan"}

    missing = alice.post("/harbour/deploy", sent)
    filled = alice.post("/harbour/deploy", {**sent, "variables": "QUANT=q8_0\n"})
    malformed = alice.post("/harbour/deploy", {**sent, "variables": "QUANT"})

    assert missing.status_code == 422
    assert "catalog/harbour:q8_0" in text_of(filled)
    assert "Line 1: write NAME=value" in text_of(malformed)


def test_a_name_that_cannot_be_is_said_at_its_field(alice: Client) -> None:
    response = alice.post("/harbour/deploy", {"name": "Not A Name", "compose": COMPOSE, "verb": "deploy"})

    assert response.status_code == 422
    assert "begins and ends with a letter or digit" in text_of(response)


def test_a_suspended_organization_starts_nothing(cast: Cast, alice: Client) -> None:
    cast.alice.organization.standing = Standing.SUSPENDED
    cast.alice.organization.save()

    response = alice.post("/harbour/deploy", {"name": "demo", "compose": COMPOSE, "verb": "deploy"})

    assert response.status_code == 422
    assert "suspended" in text_of(response)
    assert Deployment.objects.count() == 0


def test_an_edit_is_a_new_revision_and_rolling_back_makes_the_old_one_wanted(
    alice: Client, deployment: Deployment
) -> None:
    alice.post(f"{PAGE}/edit", {"compose": OTHER, "verb": "deploy"})
    page = text_of(alice.get(PAGE))
    asked = alice.get(f"{PAGE}/roll-back/1")
    deployment.refresh_from_db()
    assert deployment.target is not None
    assert deployment.target.number == 2

    alice.post(f"{PAGE}/roll-back/1")

    deployment.refresh_from_db()
    assert deployment.target is not None
    assert deployment.target.number == 1
    assert f"{PAGE}/roll-back/1" in page
    assert "Revision 2 is wanted now" in text_of(asked)
    assert alice.post(f"{PAGE}/roll-back/7").status_code == 404


def test_pause_resume_and_delete_are_the_services_verbs(alice: Client, deployment: Deployment) -> None:
    assert deployment.status == DeploymentStatus.PROVISIONING

    alice.post(f"{PAGE}/pause")
    deployment.refresh_from_db()
    assert deployment.is_paused
    assert "Resume" in text_of(alice.get(PAGE))

    alice.post(f"{PAGE}/resume")
    deployment.refresh_from_db()
    assert not deployment.is_paused

    assert "Its usage stays on your statement" in text_of(alice.get(f"{PAGE}/delete"))
    alice.post(f"{PAGE}/delete")
    deployment.refresh_from_db()
    assert deployment.status == DeploymentStatus.DELETING
    assert "is being deleted" in text_of(alice.post(f"{PAGE}/pause", follow=True))


def test_only_the_neighbourhood_of_a_problem_is_listed() -> None:
    text = "\n".join(f"line: {number}" for number in range(1, 101))
    problems = [Problem(path="x", line=line, column=1, message="!", severity="error") for line in (1, 50, 400)]

    lines = compose_notes.noted(text, problems)

    assert [line.number for line in lines] == [1, 2, 3, 48, 49, 50, 51, 52, 98, 99, 100]
    assert [line.number for line in lines if line.is_after_gap] == [48, 98]
    assert [line.number for line in lines if line.is_wrong] == [1, 50, 100]
