"""The pure parts of an instance, as tables: paths, ports, environment file, version floor, report, processes."""

import dataclasses
import json
import os
import shlex
import subprocess
import urllib.parse
from pathlib import Path

import pytest

from moorage.config.instance import (
    environment,
    llama_version,
    logs,
    ports,
    report,
    runtime_choice,
    secrets,
)
from moorage.config.instance import test_door as checks
from moorage.config.instance.databases import Databases
from moorage.config.instance.errors import InstanceError, PartMissing
from moorage.config.instance.home import Home, write_private
from moorage.config.instance.ports import Ports
from moorage.config.instance.processes import PROVISIONER, platform_programs
from moorage.config.instance.progress import Percent, Progress
from moorage.config.instance.report import Report
from moorage.config.instance.runtime_choice import Runtime

ROOT = Path(__file__).resolve().parents[2]


# --- home ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 30, 80, 150])
def test_every_socket_of_a_home_however_deep_has_a_path_short_enough(depth: int, short_tmp: Path) -> None:
    home = Home(path=short_tmp / ("d" * depth), temporary=short_tmp)

    replica = home.replica_sockets / f"rep_{'0' * 26}-123456" / "engine.sock"

    assert len(os.fsencode(replica)) <= 107
    assert len(os.fsencode(home.postgres_socket / ".s.PGSQL.5432")) <= 107


def test_two_homes_share_no_socket_directory_even_where_both_are_too_deep(short_tmp: Path) -> None:
    first, second = (Home(path=short_tmp / ("d" * 150) / name, temporary=short_tmp) for name in ("a", "b"))

    assert first.sockets.parent == second.sockets.parent == short_tmp
    assert first.sockets != second.sockets


def test_what_a_home_holds_is_closed_to_other_users(short_tmp: Path) -> None:
    home = Home(path=short_tmp / "home")

    home.prepare()
    write_private(home.up, "{}")

    for directory in (home.logs, home.store, home.journal, home.replica_sockets):
        assert directory.stat().st_mode & 0o077 == 0
    assert home.path.stat().st_mode & 0o066 == 0
    assert home.up.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make somebody else's directory")
def test_a_socket_directory_that_somebody_else_made_is_refused(short_tmp: Path) -> None:
    home = Home(path=short_tmp / ("d" * 150), temporary=short_tmp)
    home.sockets.mkdir()
    os.chown(home.sockets, 65534, 65534)

    with pytest.raises(InstanceError, match="belongs to another user"):
        home.prepare()


# --- secrets and ports -----------------------------------------------------------------------------------------------


def test_secrets_are_random_kept_and_private(short_tmp: Path) -> None:
    one, other = Home(path=short_tmp / "one"), Home(path=short_tmp / "other")

    made = secrets.load(one)

    assert made == secrets.load(one)
    assert made.secret_key != secrets.load(other).secret_key
    assert one.secrets.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("asked", "remembered", "taken", "expected"),
    [
        ((None, None), None, set(), (8400, 8401)),
        ((None, None), None, {8400}, (8401, 8402)),
        ((None, None), None, {8401}, (8400, 8402)),
        ((None, None), (8410, 8411), set(), (8410, 8411)),
        ((None, None), (8410, 8411), {8411}, (8410, 8400)),
        ((9000, None), None, set(), (9000, 8401)),
        ((None, 8400), None, set(), (8401, 8400)),
        ((9000, 9001), (8410, 8411), set(), (9000, 9001)),
    ],
)
def test_ports_are_the_asked_then_the_remembered_then_the_usual_then_the_next_free(
    asked: tuple[int | None, int | None],
    remembered: tuple[int, int] | None,
    taken: set[int],
    expected: tuple[int, int],
) -> None:
    before = Ports(console=remembered[0], gateway=remembered[1]) if remembered else None

    picked = ports.pick(console=asked[0], gateway=asked[1], remembered=before, free=lambda port: port not in taken)

    assert (picked.console, picked.gateway) == expected


@pytest.mark.parametrize(("console", "gateway"), [(8400, None), (None, 8400), (9000, 9000)])
def test_a_port_that_was_asked_for_is_used_or_refused(console: int | None, gateway: int | None) -> None:
    with pytest.raises(InstanceError, match=r"--(console|gateway)-port"):
        ports.pick(console=console, gateway=gateway, free=lambda port: port != 8400)


def test_a_port_somebody_listens_on_is_not_free() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        assert not ports.is_free(taken.getsockname()[1])


# --- environment -----------------------------------------------------------------------------------------------------

VALUES = {"PLAIN": "a", "SPACE": "a b", "QUOTE": 'it\'s "so"', "URL": "redis://:p%40@127.0.0.1:1/0", "LINES": "a\nb#c"}


def test_the_environment_file_gives_back_what_was_written() -> None:
    assert environment.parse(environment.render(VALUES)) == VALUES


def test_a_shell_reads_the_environment_file_alike(tmp_path: Path) -> None:
    (tmp_path / "env").write_text(environment.render(VALUES))

    shown = subprocess.run(
        ["sh", "-c", f'set -a; . {shlex.quote(str(tmp_path / "env"))}; printf %s "$QUOTE|$LINES"'],
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout == f"{VALUES['QUOTE']}|{VALUES['LINES']}"


def compose(operator: dict[str, str]) -> dict[str, str]:
    return environment.compose(
        home=Home(path=Path("/srv/m")),
        root=ROOT,
        ports=Ports(console=8400, gateway=8401),
        secrets=secrets.Secrets(**{field.name: field.name[0] for field in dataclasses.fields(secrets.Secrets)}),
        runtime=Runtime(name="docker", environment={"DOCKER_HOST": "unix:///x"}),
        database_url="postgresql://",
        broker_url="redis://",
        operator=operator,
    )


def test_processes_get_what_the_operator_set_and_nothing_else_of_theirs() -> None:
    composed = compose({"STRIPE_API_KEY": "sk", "MOORAGE_CONSOLE_URL": "https://moorage.example", "HISTFILE": "x"})

    assert composed["STRIPE_API_KEY"] == "sk"
    assert composed["MOORAGE_GATEWAY_SECRET"] == "g"
    assert composed["MOORAGE_CONSOLE_URL"] == "https://moorage.example"
    assert "HISTFILE" not in composed


def test_the_gateway_and_the_shipper_have_a_login_of_their_own() -> None:
    programs = platform_programs(
        python="python",
        ports=Ports(console=8400, gateway=8401),
        run_directory="/run",
        answers=lambda _: True,
        gateway_workers=2,
        database_urls={"gateway": "postgresql://g", "shipper": "postgresql://s"},
    )

    given = {program.name: url for program in programs if (url := program.given.get("DATABASE_URL"))}

    assert given == {
        "shipper": "postgresql://s",
        "gateway": "postgresql://g",
        "gateway-2": "postgresql://g",
    }


def test_an_operators_logins_are_taken_apart_and_the_owners_is_for_migrations_alone() -> None:
    one = Databases.of_operator({"DATABASE_URL": "postgresql://a"})
    several = Databases.of_operator(
        {
            "DATABASE_URL": "postgresql://a",
            "MOORAGE_OWNER_DATABASE_URL": "postgresql://o",
            "MOORAGE_GATEWAY_DATABASE_URL": "postgresql://g",
            "MOORAGE_SHIPPER_DATABASE_URL": "postgresql://s",
        }
    )

    assert {one.owner, one.app, one.gateway, one.shipper} == {"postgresql://a"}
    assert [url[-1] for url in (several.owner, several.app, several.gateway, several.shipper)] == ["o", "a", "g", "s"]
    assert "MOORAGE_OWNER_DATABASE_URL" not in compose({"MOORAGE_OWNER_DATABASE_URL": "postgresql://o"})


def test_a_gateway_with_a_certificate_is_reached_over_https() -> None:
    composed = compose({"MOORAGE_GATEWAY_TLS_CERTIFICATE": "/c.pem", "MOORAGE_GATEWAY_TLS_KEY": "/k.pem"})
    programs = platform_programs(
        python="python",
        ports=Ports(console=8400, gateway=8401),
        run_directory="/run",
        answers=lambda url: url == "https://127.0.0.1:8401/-/healthz",
        gateway_scheme="https",
    )

    assert composed["MOORAGE_GATEWAY_URL"] == "https://127.0.0.1:8401"
    (gateway,) = (program for program in programs if program.name == "gateway")
    assert gateway.is_ready is not None
    assert gateway.is_ready()


def test_the_platforms_settings_accept_the_composed_environment() -> None:
    complete = {**compose({}), "DATABASE_URL": "postgresql://u:p@/moorage?host=/x", "PATH": os.defpath}
    import sys

    done = subprocess.run(
        [sys.executable, "-c", "import moorage.config.settings as s; print(s.MOORAGE_RUNTIME, s.DEBUG)"],
        env=complete,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == ["docker", "False"], done.stderr


# --- llama-server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "text", "is_new_enough"),
    [
        ("version: 8146 (1ab2c3d)\nbuilt with GNU 12", "b8146", True),
        ("version: 8145 (1ab2c3d)", "b8145", False),
        ("version: b9879 (abc)", "b9879", True),
        ("version: 0 (unknown)", "b0", False),
        ("version: 0.5.0-dev (build 0, commit 0c1e57098)", "0.5.0-dev (0c1e57098)", True),
        ("version: 0.2.0 (build 10900, commit abc)\nbuilt with", "0.2.0 (abc)", True),
    ],
)
def test_the_version_floor_of_llama_server(output: str, text: str, is_new_enough: bool) -> None:
    version = llama_version.parse(output)

    assert version is not None
    assert (version.text, version.is_new_enough) == (text, is_new_enough)


def test_a_program_that_names_no_version_has_none() -> None:
    assert llama_version.parse("usage: ls [file]") is None
    assert llama_version.ask(Path("/nowhere/llama-server")) is None


# --- runtime ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forced", "engine_answers", "expected"),
    [(None, True, "docker"), (None, False, "process"), ("process", True, "process"), ("docker", True, "docker")],
)
def test_docker_is_chosen_where_an_engine_answers(forced: str | None, engine_answers: bool, expected: str) -> None:
    chosen = runtime_choice.choose(forced=forced, environ={}, answers=lambda _host: engine_answers)

    assert chosen == expected


def test_docker_by_force_without_an_engine_is_refused_and_names_the_address() -> None:
    with pytest.raises(PartMissing, match="tcp://engine:2375"):
        runtime_choice.choose(
            forced="docker", environ={"DOCKER_HOST": "tcp://engine:2375"}, answers=lambda _host: False
        )


# --- processes -------------------------------------------------------------------------------------------------------


def test_only_the_provisioning_worker_sees_the_container_engine() -> None:
    programs = platform_programs(
        python="python", ports=Ports(console=1, gateway=2), run_directory="/run", answers=lambda _url: True
    )

    assert {program.name for program in programs if "DOCKER_HOST" not in program.withheld} == {PROVISIONER}
    assert {program.name for program in programs} == {
        "web",
        "gateway",
        PROVISIONER,
        "worker-default",
        "beat",
        "doorbell",
        "shipper",
    }


def test_the_gateway_is_the_last_to_start_and_so_the_first_to_stop() -> None:
    asked: list[str] = []
    programs = platform_programs(
        python="python",
        ports=Ports(console=1, gateway=2),
        run_directory="/run",
        answers=lambda url: bool(asked.append(url)) or True,
    )

    assert programs[-1].name == "gateway"
    assert programs[-1].is_ready is not None and programs[-1].is_ready()
    assert urllib.parse.urlsplit(asked[0]).port == 2


def test_gateway_workers_share_the_port() -> None:
    programs = platform_programs(
        python="python",
        ports=Ports(console=1, gateway=2),
        run_directory="/run",
        answers=lambda _url: True,
        gateway_workers=3,
    )

    assert [program.name for program in programs[-3:]] == ["gateway", "gateway-2", "gateway-3"]
    assert compose({"MOORAGE_GATEWAY_WORKERS": "3"})["MOORAGE_GATEWAY_REUSE_PORT"] == "1"
    assert "MOORAGE_GATEWAY_REUSE_PORT" not in compose({})


@pytest.mark.parametrize("text", ["0", "-1", "two", "1000"])
def test_a_number_of_gateway_workers_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InstanceError, match="MOORAGE_GATEWAY_WORKERS must be a whole number"):
        compose({"MOORAGE_GATEWAY_WORKERS": text})


# --- what a person sees ----------------------------------------------------------------------------------------------

REPORT = Report(
    console_url="http://127.0.0.1:8400",
    api_url="http://127.0.0.1:8400/api/v1",
    gateway_url="http://127.0.0.1:8401",
    organization="demo",
    admin_email="admin@moorage.local",
    admin_password="only-once",
    api_token="mk_live_token",
    api_key="mk_live_key",
    model="demo/llm",
)


def test_the_password_is_shown_the_first_time_only(short_tmp: Path) -> None:
    home = Home(path=short_tmp)

    first = report.render(REPORT, home=home, is_first=True)
    second = report.render(REPORT, home=home, is_first=False)

    assert "only-once" in first
    assert "only-once" not in second
    for shown in (first, second):
        assert "http://127.0.0.1:8400/" in shown and "mk_live_key" in shown and "mk_live_token" not in shown


def test_up_json_has_exactly_the_promised_keys_and_is_private(short_tmp: Path) -> None:
    home = Home(path=short_tmp)

    report.write(home, REPORT)

    assert set(json.loads(home.up.read_text())) == {
        "console_url",
        "api_url",
        "gateway_url",
        "organization",
        "admin_email",
        "admin_password",
        "api_token",
        "api_key",
        "model",
    }
    assert home.up.stat().st_mode & 0o777 == 0o600
    assert report.read(home) == REPORT


def test_the_warning_of_the_runtime_closes_the_report(short_tmp: Path) -> None:
    shown = report.render(REPORT, home=Home(path=short_tmp), is_first=False, warning=runtime_choice.NOT_ISOLATED)

    assert shown.strip().endswith(runtime_choice.NOT_ISOLATED)


def test_progress_numbers_its_steps_and_names_the_time() -> None:
    import io

    out, now = io.StringIO(), iter([0.0, 0.0, 0.0, 61.0, 75.0, 75.0])
    progress = Progress(steps=2, out=out, clock=lambda: next(now))

    with progress.step("PostgreSQL"):
        progress.note("listening")

    assert out.getvalue().splitlines() == [
        " 0:00  [1/2] PostgreSQL",
        " 1:01        listening",
        " 1:15        done in 75 s",
    ]


def test_many_percentages_become_few_lines() -> None:
    said: list[str] = []
    percent = Percent(said.append, what="compiling", every=25)

    for number in range(101):
        percent.reached(number)

    assert said == [f"compiling: {number} %" for number in (0, 25, 50, 75, 100)]


def test_the_logs_of_all_processes_are_told_apart(tmp_path: Path) -> None:
    import io

    (tmp_path / "web.log").write_text("one\ntwo\nthree\n")
    (tmp_path / "gateway.log").write_text("four\n")
    everything, alone = io.StringIO(), io.StringIO()

    logs.show(tmp_path, name=None, lines=2, follows=False, out=everything)
    logs.show(tmp_path, name="web", lines=1, follows=False, out=alone)

    assert everything.getvalue() == "gateway | four\nweb     | two\nweb     | three\n"
    assert alone.getvalue() == "three\n"
    assert not logs.show(tmp_path, name="ship", lines=1, follows=False, out=alone)


def test_a_followed_log_gives_new_lines_also_after_it_was_truncated(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("before\n")
    steps = iter(
        [
            lambda: log.write_text("before\nnew\nhal"),
            lambda: log.write_text("before\nnew\nhalf\n"),
            lambda: log.write_text("x\n"),
        ]
    )

    def go_on() -> bool:
        step = next(steps, None)
        return step is not None and step() is not None

    assert [line for _, line in logs.follow([log], go_on=go_on, pause=0)] == ["new", "half", "x"]


# --- the test door ---------------------------------------------------------------------------------------------------


def test_arguments_of_the_test_door_go_to_pytest_except_its_own() -> None:
    known = ("lint", "types", "pytest")

    assert checks.choose(["tests/compose", "-q"], known=known) == (known, ["tests/compose", "-q"])
    assert checks.choose(["--only", "lint,pytest", "-x"], known=known) == (("lint", "pytest"), ["-x"])
    with pytest.raises(InstanceError, match="--only takes some of lint, types, pytest"):
        checks.choose(["--only", "spelling"], known=known)
    with pytest.raises(InstanceError, match="--only takes"):
        checks.choose(["--only"], known=known)


def test_the_test_door_checks_format_lint_imports_types_and_migrations() -> None:
    assert list(checks.checks("/venv/bin/python")) == ["format", "lint", "imports", "types", "migrations"]
