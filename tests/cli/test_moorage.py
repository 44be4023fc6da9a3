"""The command line against the real REST API: what it prints, and its exit status."""

from pathlib import Path

import pytest

from moorage.accounts.models import ApiKey
from moorage.cli.main import main
from moorage.deployments.models import Deployment
from tests.cast import Cast
from tests.cli.conftest import Run
from tests.deployments.conftest import COMPOSE


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE)
    return str(path)


def test_apply_deploys_a_file_and_the_other_verbs_see_it(
    moorage: Run, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert moorage("plan", "demo", "-f", file) == 0
    assert not Deployment.objects.exists()
    assert "Start demo/llm" in capsys.readouterr().out

    assert moorage("apply", "demo", "-f", file, "--no-wait") == 0
    assert "demo is provisioning at revision 1." in capsys.readouterr().out
    for words, expected in {
        ("list",): "revision 1",
        ("status", "demo"): "catalog/harbour:q8_0",
        ("env", "demo"): "LLM_URL=",
        ("scale", "demo"): "llm  0 -> 1  Applied",
        ("usage",): "{",
        ("keys",): "inference",
        ("pause", "demo"): "pause",
        ("resume", "demo"): "resume",
        ("rollback", "demo", "1"): "revision 1",
        ("delete", "demo"): "being deleted",
    }.items():
        assert moorage(*words) == 0, words
        assert expected in capsys.readouterr().out, words


def test_a_new_key_is_printed_once(moorage: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert moorage("keys", "--create", "ci") == 0

    secret = capsys.readouterr().out.strip()
    assert secret.startswith("mk_live_")
    assert moorage("keys") == 0
    assert secret not in capsys.readouterr().out


def test_limits_are_set_shown_and_taken_away(moorage: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert moorage("limits", "--set", "money_per_month=12.50", "--set", "requests_per_minute=60") == 0
    assert "money_per_month: 12.50 of 12.50 left, until " in capsys.readouterr().out

    assert moorage("limits", "--set", "requests_per_hour=60") == 1
    assert "requests_per_hour" in capsys.readouterr().err

    assert moorage("limits", "--none") == 0
    assert moorage("limits") == 0
    assert capsys.readouterr().out == ""


def test_a_keys_priority_changes_without_its_limits(
    moorage: Run, committed_cast: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ApiKey.objects.for_organization(committed_cast.alice.organization).earliest("created_at").pk
    moorage("limits", "--key", key, "--set", "requests_per_minute=60", "--network", "127.0.0.0/8")

    assert moorage("limits", "--key", key, "--priority", "high") == 0
    assert capsys.readouterr().out.endswith("network: 127.0.0.0/8\npriority: high\n")
    assert moorage("limits", "--key", key) == 0
    assert "requests_per_minute: 60 of 60 left" in capsys.readouterr().out

    assert moorage("limits", "--priority", "high") == 1
    assert "--key" in capsys.readouterr().err


def test_a_broken_file_is_refused_with_its_lines(
    moorage: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("models:\n  llm:\n    modle: catalog/harbour:q8_0\n")

    assert moorage("apply", "demo", "-f", str(broken)) == 1

    said = capsys.readouterr().err
    assert "line 3: models.llm.modle" in said
    assert not Deployment.objects.exists()


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"], environment={}) == 2
    assert "MOORAGE_API_TOKEN" in capsys.readouterr().err


def test_an_api_that_does_not_answer_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = {"MOORAGE_API_URL": "http://127.0.0.1:9/api/v1", "MOORAGE_API_TOKEN": "x"}

    assert main(["list"], environment=nowhere) == 1
    assert "Nobody answers" in capsys.readouterr().err
