"""deploy/compose.yaml starts what `./manage.py up` starts, each with its own login and no more power than it needs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from moorage.compose.parse import parse
from moorage.compose.problems import SpecInvalid
from moorage.config.instance.ports import Ports
from moorage.config.instance.processes import PROVISIONER, platform_programs

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
PROGRAMS = {
    program.name: program
    for program in platform_programs(
        python=sys.executable,
        ports=Ports(console=8400, gateway=8401),
        run_directory="/run/moorage",
        answers=lambda _: True,
    )
}
OURS = sorted({*PROGRAMS, "migrate"})
#: Elsewhere than in a container of its own.
LISTENS = {"127.0.0.1:8400": "0.0.0.0:8400"}


def test_there_is_a_service_for_every_process_and_nothing_else_of_ours() -> None:
    assert set(SERVICES) == {*PROGRAMS, "migrate", "postgres", "valkey"}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_service_starts_the_same_program(name: str) -> None:
    ours = [LISTENS.get(part, part) for part in PROGRAMS[name].argv[1:]]

    assert SERVICES[name]["command"] == ["python", *ours]


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_service_does_not_see_what_is_withheld_from_its_process(name: str) -> None:
    service, program = SERVICES[name], PROGRAMS[name]
    seen = {*service["environment"], *(secret["target"] for secret in service["secrets"])}

    assert service["environment"]["MOORAGE_WITHHELD"].split() == list(program.withheld)
    assert not seen & set(program.withheld)
    assert program.given.items() <= service["environment"].items()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_only_the_provisioning_worker_is_let_to_the_engine(name: str) -> None:
    service = SERVICES[name]
    reaches = "docker.sock" in str(service.get("volumes", "")) or "DOCKER_HOST" in service.get("environment", {})

    assert reaches is (name == PROVISIONER)
    assert not {"privileged", "pid", "ipc", "network_mode", "devices"} & service.keys()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_read_only_root_and_only_the_capabilities_that_it_needs(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == {
        "gateway": ["DAC_OVERRIDE", "SETUID", "SETGID", "SETPCAP"],
        PROVISIONER: ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
    }.get(name, [])


def test_only_who_makes_directories_for_runners_stays_root() -> None:
    roots = {name for name, service in SERVICES.items() if service["user"].startswith("0:")}

    assert roots == {"gateway", PROVISIONER}
    assert SERVICES["gateway"]["environment"]["MOORAGE_AS"] == "10001"


def test_who_touches_the_journal_is_the_user_who_owns_it_and_nobody_else_is() -> None:
    touches = {name for name, service in SERVICES.items() if "journal:" in str(service.get("volumes", ""))}
    users = {name: SERVICES[name]["user"] for name in OURS}

    assert touches == {"gateway", "shipper", "worker-default"}
    assert {name for name, user in users.items() if user == "10001:10001"} == touches - {"gateway"}
    others = [user for user in users.values() if not user.startswith(("0:", "10001:"))]
    assert len(others) == len(set(others))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_that_stays_says_whether_it_is_well(name: str) -> None:
    service = SERVICES[name]

    assert ("healthcheck" in service) is (name != "migrate")
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")


def test_each_login_is_one_of_the_roles_and_has_its_own_password() -> None:
    roles = re.findall(r"for role in (.+?);", (DEPLOY / "postgres" / "roles.sh").read_text())[0].split()
    used = {}
    for name in OURS:
        login = SERVICES[name]["environment"]["MOORAGE_DATABASE_LOGIN"].removeprefix("moorage_")
        (password,) = [each["source"] for each in SERVICES[name]["secrets"] if each["target"] == "database_password"]
        assert login == password and login in roles
        used[name] = login
    assert {name for name, login in used.items() if login == "owner"} == {"migrate"}
    assert {name: used[name] for name in ("gateway", "shipper")} == {"gateway": "gateway", "shipper": "shipper"}


def test_the_database_and_the_broker_are_reached_from_inside_alone() -> None:
    assert SERVICES["postgres"]["networks"] == ["database"] and SERVICES["valkey"]["networks"] == ["broker"]
    assert FILE["networks"]["database"] == FILE["networks"]["broker"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"web", "gateway"}


def test_every_secret_is_one_that_make_secrets_makes(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run([DEPLOY / "make-secrets", tmp_path / "s"], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "s").iterdir()}

    assert set(FILE["secrets"]) == set(made)
    assert all(FILE["secrets"][name]["file"] == f"./secrets/{name}" for name in made)
    long_ones = {name for name, text in made.items() if re.fullmatch("[0-9a-f]{64}", text)}
    assert set(made) - long_ones == {"stripe_api_key", "stripe_webhook_secret"}
    assert len({made[name] for name in long_ones}) == len(long_ones)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700


def test_what_the_services_set_is_documented() -> None:
    sample = (DEPLOY / "environment.sample").read_text()
    of_the_entrypoint = {"MOORAGE_WITHHELD", "MOORAGE_DATABASE_LOGIN", "MOORAGE_AS"}

    for name in OURS:
        for variable in set(SERVICES[name]["environment"]) - of_the_entrypoint:
            assert re.search(rf"^{variable}=", sample, re.MULTILINE), variable


def test_our_own_strict_reader_reads_it_and_refuses_only_what_reaches_for_the_machine() -> None:
    with pytest.raises(SpecInvalid) as refused:
        parse(TEXT + "\nmodels: {llm: {model: catalog/harbour:q8_0}}\n")

    errors = {each.path.rpartition(".")[2] for each in refused.value.problems if each.severity == "error"}
    assert {name.partition("[")[0] for name in errors} == {
        *("build", "cap_add", "env_file", "file", "security_opt", "volumes")
    }


def test_the_entrypoint_takes_away_what_is_withheld(tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "MOORAGE_WITHHELD": "DOCKER_HOST STRIPE_API_KEY",
        "DOCKER_HOST": "unix:///x",
        "STRIPE_API_KEY": "sk",
        "MOORAGE_HOME": "/h",
    }

    ran = subprocess.run([DEPLOY / "entrypoint", "env"], env=environment, capture_output=True, text=True, check=True)

    seen = dict(line.split("=", 1) for line in ran.stdout.splitlines())
    assert not {"DOCKER_HOST", "STRIPE_API_KEY"} & seen.keys()
    assert seen["MOORAGE_HOME"] == "/h"
