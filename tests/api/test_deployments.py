"""A Compose file put, looked at, planned and deleted over REST."""

import pytest
from django.conf import settings
from django.test import override_settings

from moorage.accounts import services as accounts
from moorage.accounts.models import AuditEntry, Standing
from moorage.deployments.models import Deployment, Replica, ReplicaLog, ReplicaStatus, Revision, Scale, TimelineEvent
from tests.api.conftest import COMPOSE, WIDER, Caller, error_of
from tests.cast import Cast

COUNTED = (Deployment, Revision, Scale, TimelineEvent, AuditEntry, Replica)


def test_a_new_file_is_accepted_with_everything_a_caller_needs(alice: Caller) -> None:
    answer = alice.put("demo")

    document = answer.json()
    assert answer.status_code == 202
    assert answer["location"] == "/api/v1/deployments/demo"
    assert (document["name"], document["status"], document["revision"]) == ("demo", "provisioning", 1)
    assert document["endpoint"] == f"{settings.MOORAGE_GATEWAY_URL}/v1"
    (model,) = document["models"]
    assert model["key"] == "llm" and model["served_name"] == "demo/llm"
    assert model["digest"].startswith("sha256:") and model["engine"] == "llamacpp" and model["quantization"] == "Q8_0"
    assert model["context_size"] == 256 and model["memory_bytes"] > 0
    assert {"name": "LLM_MODEL", "value": "demo/llm"} in document["environment"]["app"]
    assert "LLM_MODEL=demo/llm\n" in document["env_file"]["app"]
    assert document["created_at"].endswith("Z")


def test_the_same_file_again_changes_nothing(alice: Caller) -> None:
    first = alice.put("demo").json()
    rows = [model.objects.count() for model in COUNTED]

    again = alice.put("demo")

    assert again.status_code == 200
    assert again.json()["id"] == first["id"] and again.json()["revision"] == 1
    assert [model.objects.count() for model in COUNTED] == rows


def test_another_file_is_another_revision(alice: Caller) -> None:
    alice.put("demo")

    answer = alice.put("demo", WIDER)

    assert answer.status_code == 202
    assert answer.json()["revision"] == 2


@pytest.mark.parametrize(
    "content_type",
    [
        "application/yaml",
        "text/yaml; charset=utf-8",
        "application/x-yaml",
        "text/plain",
        "application/x-www-form-urlencoded",
    ],
)
def test_the_file_itself_may_come_under_any_name_that_clients_give_it(alice: Caller, content_type: str) -> None:
    answer = alice("PUT", "deployments/demo", COMPOSE, content_type=content_type)

    assert answer.status_code == 202, answer.content


def test_json_brings_the_file_and_its_variables(alice: Caller) -> None:
    text = COMPOSE.replace("256", "${SIZE}").replace("q8_0", "${TAG}")

    answer = alice.put("demo", {"compose": text, "variables": {"SIZE": "128"}}, "?var.TAG=q8_0")

    assert answer.status_code == 202, answer.content
    assert answer.json()["models"][0]["context_size"] == 128


def test_variables_may_stand_in_the_address(alice: Caller) -> None:
    answer = alice.put("demo", COMPOSE.replace("256", "${SIZE}"), "?var.SIZE=128")

    assert answer.json()["models"][0]["context_size"] == 128


def test_a_variable_sent_twice_is_refused(alice: Caller) -> None:
    answer = alice.put("demo", {"compose": COMPOSE, "variables": {"SIZE": "1"}}, "?var.SIZE=2")

    assert "SIZE" in error_of(answer, 422)["message"]


def test_every_problem_comes_at_once_with_its_line(alice: Caller) -> None:
    text = COMPOSE.replace("256", "soon").replace("models: [llm]", "models: [other]")

    error = error_of(alice.put("demo", text), 422)

    assert error["code"] == "spec_invalid"
    lines = {problem["line"]: problem for problem in error["problems"]}
    assert lines.keys() >= {4, 8}
    assert all(problem.keys() == {"path", "line", "column", "message", "severity"} for problem in error["problems"])
    assert lines[8]["path"] == "models.llm.context_size"
    assert not Deployment.objects.exists()


def test_an_unknown_model_is_a_problem_of_its_line(alice: Caller) -> None:
    error = error_of(alice.put("demo", COMPOSE.replace("harbour:q8_0", "unknown:latest")), 422)

    wrong = [problem for problem in error["problems"] if problem["severity"] == "error"]
    assert [(problem["path"], problem["line"]) for problem in wrong] == [("models.llm.model", 7)]


def test_what_is_ignored_is_said_with_its_line(alice: Caller) -> None:
    text = f"{COMPOSE}networks:\n  quay: {{}}\n"

    sent = alice.put("demo", text).json()["warnings"]
    read = alice.get("deployments/demo")["warnings"]

    assert ("networks", 9) in [(warning["path"], warning["line"]) for warning in sent]
    assert read == sent


def test_a_file_over_the_limit_is_refused(alice: Caller) -> None:
    large = COMPOSE + "#" * 64 * 1024

    assert error_of(alice.put("demo", large), 413)["code"] == "body_too_large"
    assert error_of(alice.put("demo", {"compose": large}), 413)["code"] == "body_too_large"


def test_a_bad_name_is_refused_with_the_rule(alice: Caller) -> None:
    assert error_of(alice.put("Demo_1"), 422)["code"] == "invalid_name"


def test_an_empty_body_says_what_to_write(alice: Caller) -> None:
    error = error_of(alice("PUT", "deployments/demo", "", content_type="application/yaml"), 422)

    assert "empty" in error["problems"][0]["message"]


def test_a_dry_run_answers_the_plan_and_writes_nothing(alice: Caller) -> None:
    alice.put("demo")
    rows = [model.objects.count() for model in COUNTED]

    answer = alice.put("demo", WIDER, "?dry_run=true")

    plan = answer.json()
    assert answer.status_code == 200
    assert (plan["revision"], plan["is_new"], plan["is_changed"]) == (2, False, True)
    assert plan["steps"] and plan["models"][0]["context_size"] == 512
    assert {"name": "LLM_MODEL", "value": "demo/llm"} in plan["environment"]["app"]
    assert [model.objects.count() for model in COUNTED] == rows


def test_a_dry_run_of_a_bad_file_names_its_problems(alice: Caller) -> None:
    assert error_of(alice.put("demo", "models: 7", "?dry_run=true"), 422)["problems"]


def test_two_deployments_cannot_serve_one_name(alice: Caller) -> None:
    named = COMPOSE.replace("    context_size", "    name: tide\n    context_size")
    alice.put("one", named)

    assert error_of(alice.put("two", named), 409)["code"] == "served_name_taken"


def test_deployments_are_listed_by_name_in_pages(alice: Caller) -> None:
    for name in ("cove", "bay", "arm"):
        alice.put(name)

    first = alice.get("deployments?limit=2")
    second = alice.get(f"deployments?limit=2&cursor={first['next_cursor']}")

    assert [row["name"] for row in first["data"]] == ["arm", "bay"]
    assert [row["name"] for row in second["data"]] == ["cove"]
    assert second["next_cursor"] is None
    assert first["data"][0]["served_names"] == ["arm/llm"]


@pytest.mark.parametrize("cursor", ["nonsense", "bnVtYmVyPTE", "%00", "bmFtZT0A"])
def test_a_cursor_of_nowhere_is_refused(alice: Caller, cursor: str) -> None:
    error_of(alice("GET", f"deployments?cursor={cursor}"), 422)


def test_a_deletion_is_accepted_and_the_name_is_free_once_it_is_done(alice: Caller) -> None:
    alice.put("demo")

    answer = alice("DELETE", "deployments/demo")

    assert answer.status_code == 202
    assert answer.json()["status"] == "deleting"
    assert error_of(alice.put("demo"), 409)["code"] == "being_deleted"
    Deployment.objects.update(status="deleted")
    error_of(alice("GET", "deployments/demo"), 404)
    assert alice.put("demo").status_code == 202


def test_the_environment_downloads_as_an_env_file(alice: Caller) -> None:
    alice.put("demo")

    answer = alice("GET", "deployments/demo/environment?service=app")

    assert answer["content-type"] == "text/plain; charset=utf-8"
    assert answer["content-disposition"] == 'attachment; filename="demo.app.env"'
    assert "LLM_MODEL=demo/llm" in answer.content.decode().splitlines()


def test_the_environment_is_json_for_those_who_ask(alice: Caller) -> None:
    alice.put("demo")

    document = alice.get("deployments/demo/environment", accept="application/json")

    assert {"name": "LLM_MODEL", "value": "demo/llm"} in document["environment"]["app"]


def test_a_service_that_binds_nothing_has_no_environment(alice: Caller) -> None:
    alice.put("demo")

    error = error_of(alice("GET", "deployments/demo/environment?service=web"), 404)

    assert "app" in error["message"]


def test_revisions_are_listed_newest_first_and_keep_their_file(alice: Caller) -> None:
    alice.put("demo", {"compose": COMPOSE.replace("256", "$SIZE"), "variables": {"SIZE": "256"}})
    alice.put("demo", WIDER)

    listed = alice.get("deployments/demo/revisions?limit=1")
    rest = alice.get(f"deployments/demo/revisions?limit=1&cursor={listed['next_cursor']}")
    first = alice.get("deployments/demo/revisions/1")

    assert [(row["number"], row["is_target"]) for row in listed["data"] + rest["data"]] == [(2, True), (1, False)]
    assert first["compose"] == COMPOSE.replace("256", "$SIZE") and first["variables"] == {"SIZE": "256"}
    assert first["models"][0]["context_size"] == 256
    error_of(alice("GET", "deployments/demo/revisions/3"), 404)
    error_of(alice("GET", "deployments/demo/revisions/99999999999999999999"), 404)


def test_a_rollback_wants_the_earlier_revision_again(alice: Caller) -> None:
    alice.put("demo")
    alice.put("demo", WIDER)

    answer = alice("POST", "deployments/demo/rollback", {"revision": 1})

    assert answer.status_code == 202
    assert answer.json()["revision"] == 1
    assert error_of(alice("POST", "deployments/demo/rollback", {"revision": 9}), 404)["code"] == "revision_not_found"


def test_pausing_and_resuming_are_what_they_say(alice: Caller) -> None:
    alice.put("demo")

    paused = alice("POST", "deployments/demo/pause").json()
    resumed = alice("POST", "deployments/demo/resume").json()

    assert (paused["is_paused"], resumed["is_paused"]) == (True, False)


def test_replicas_show_how_they_were_started_and_why_they_are_where_they_are(alice: Caller) -> None:
    alice.put("demo")
    deployment = Deployment.objects.get()
    made = [
        Replica.objects.create(
            deployment=deployment,
            revision=deployment.target,
            model_key="llm",
            status=status,
            argv=["llama-server", "-m"],
        )
        for status in (ReplicaStatus.GONE, ReplicaStatus.STARTING)
    ]

    listed = alice.get("deployments/demo/replicas")["data"]
    everything = alice.get("deployments/demo/replicas?with_gone=true")["data"]

    assert [row["id"] for row in listed] == [made[1].id]
    assert {row["id"] for row in everything} == {replica.id for replica in made}
    assert listed[0]["argv"] == ["llama-server", "-m"] and listed[0]["revision"] == 1


def test_a_replicas_log_is_text_and_on_request_json(alice: Caller) -> None:
    alice.put("demo")
    deployment = Deployment.objects.get()
    replica = Replica.objects.create(
        deployment=deployment, revision=deployment.target, model_key="llm", status=ReplicaStatus.GONE
    )
    ReplicaLog.objects.create(replica=replica, text="listening\n")
    path = f"deployments/demo/replicas/{replica.id}/logs"

    text, document = alice("GET", path), alice.get(path, accept="application/json")

    assert (text["content-type"], text.content) == ("text/plain; charset=utf-8", b"listening\n")
    assert document == {"replica_id": replica.id, "text": "listening\n"}
    error_of(alice("GET", "deployments/demo/replicas/rep_none/logs"), 404)


def test_every_scaling_says_why(alice: Caller, charlie: Caller) -> None:
    alice.put("demo")

    (decision,) = alice.get("deployments/demo/scale-decisions")["data"]

    assert (decision["model_key"], decision["from"], decision["to"]) == ("llm", 0, 1)
    assert decision["why"].startswith("Applied") and decision["signals"] == {}
    error_of(charlie("GET", "deployments/demo/scale-decisions"), 404)


def test_the_timeline_names_the_key_that_acted(alice: Caller) -> None:
    alice.put("demo")

    (event,) = alice.get("deployments/demo/timeline")["data"]

    assert event["code"] == "revision_applied"
    assert event["by"].startswith("API key mk_live_")
    assert alice.secret is not None and alice.secret not in str(event)


@override_settings(MOORAGE_GATEWAY_URL="https://gateway.example", MOORAGE_GATEWAY_DOMAIN="models.example")
def test_where_organizations_have_host_names_theirs_is_shown(alice: Caller) -> None:
    planned = alice.put("demo", COMPOSE, "?dry_run=true").json()
    document = alice.put("demo").json()

    assert planned["endpoint"] == document["endpoint"] == "https://harbour.models.example/v1"
    assert "https://harbour.models.example/v1" in str(document["environment"])


@override_settings(MOORAGE_GATEWAY_URL="https://gateway.example")
def test_a_suspended_organization_reads_and_deletes_but_starts_nothing(alice: Caller, cast: Cast) -> None:
    alice.put("demo")
    alice.put("demo", WIDER)
    accounts.set_standing(
        organization=cast.alice.organization, standing=Standing.SUSPENDED, reason="unpaid", by=cast.alice.actor
    )

    refused = [
        alice.put("demo"),
        alice("POST", "deployments/demo/resume"),
        alice("POST", "deployments/demo/rollback", {"revision": 1}),
    ]

    assert {error_of(answer, 402)["code"] for answer in refused} == {"organization_suspended"}
    assert alice.get("deployments/demo")["endpoint"] == "https://gateway.example/v1"
    assert alice.put("demo", COMPOSE, "?dry_run=true").status_code == 200
    assert alice("POST", "deployments/demo/pause").status_code == 202
    assert alice("DELETE", "deployments/demo").status_code == 202
