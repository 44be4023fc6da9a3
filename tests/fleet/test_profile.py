"""Every lock of the container profile, opened one at a time, is named."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from moorage.fleet import profile, seccomp
from moorage.fleet.engines import Engine
from moorage.fleet.profile import EngineFacts
from moorage.fleet.runtime import ContainerSpec

MIB = 1024**2
UID = 1_234_567_890
FACTS = EngineFacts()
SPEC = ContainerSpec(
    name="moorage-t1-rep_1-1",
    replica_id="rep_1",
    organization_id="org_1",
    epoch=1,
    engine=Engine.LLAMACPP,
    argv=("/usr/local/bin/llama-server", "--model", "/model/model.gguf"),
    environment=(("PATH", "/usr/bin"), ("HOME", "/home/runner")),
    model_dir=Path("/store/models/abc"),
    socket_dir=Path("/run/m/rep_1-1"),
    memory_bytes=512 * MIB,
    cpu_millis=1500,
    pids_limit=256,
    device_ids=("GPU-1",),
)


def as_inspected() -> dict[str, Any]:
    """What Docker 20.10 answers about a container made as expected, in its own spelling of "none"."""
    document = copy.deepcopy(profile.expected(SPEC, uid=UID, facts=FACTS))
    document["Config"] |= {"Labels": {}, "Image": "sha256:abc", "Volumes": None}
    document["Config"]["Env"].append("LD_PRELOAD")
    document["HostConfig"] |= {
        "Privileged": False,
        "CapAdd": None,
        "Binds": None,
        "Dns": [],
        "PidMode": "",
        "UsernsMode": "",
        "PortBindings": {},
        "Devices": [],
    }
    for mount in document["Mounts"]:
        mount["Mode"] = ""
    document["NetworkSettings"] = {"Networks": {"none": {}}}
    return document


def test_what_was_asked_for_has_no_differences() -> None:
    assert profile.differences(as_inspected(), profile.expected(SPEC, uid=UID, facts=FACTS)) == ()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("HostConfig.NetworkMode", "bridge"),
        ("Config.NetworkDisabled", False),
        ("HostConfig.IpcMode", "host"),
        ("HostConfig.CgroupnsMode", "host"),
        ("HostConfig.ReadonlyRootfs", False),
        ("HostConfig.CapDrop", None),
        ("HostConfig.CapAdd", ["SYS_ADMIN"]),
        ("HostConfig.SecurityOpt", None),
        ("HostConfig.SecurityOpt", ["no-new-privileges:true"]),
        ("HostConfig.SecurityOpt", ["no-new-privileges:true", "seccomp=unconfined"]),
        ("HostConfig.SecurityOpt", [f"seccomp={seccomp.TEXT}"]),
        ("HostConfig.SecurityOpt", ["no-new-privileges:true", f"seccomp={seccomp.TEXT}", "apparmor=unconfined"]),
        ("HostConfig.Privileged", True),
        ("HostConfig.PidMode", "host"),
        ("HostConfig.UsernsMode", "host"),
        ("HostConfig.UTSMode", "host"),
        ("HostConfig.Memory", 0),
        ("HostConfig.MemorySwap", -1),
        ("HostConfig.NanoCpus", 0),
        ("HostConfig.PidsLimit", None),
        ("HostConfig.PidsLimit", -1),
        ("HostConfig.OomKillDisable", True),
        ("HostConfig.OomScoreAdj", -500),
        ("HostConfig.ShmSize", 1),
        ("HostConfig.Tmpfs", {"/tmp": "rw,exec"}),
        ("HostConfig.Ulimits", None),
        ("HostConfig.Init", None),
        ("HostConfig.RestartPolicy", {"Name": "always", "MaximumRetryCount": 0}),
        ("HostConfig.LogConfig", {"Type": "json-file", "Config": {}}),
        ("HostConfig.Binds", ["/:/host"]),
        ("HostConfig.Devices", [{"PathOnHost": "/dev/sda"}]),
        ("HostConfig.DeviceRequests", [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]),
        ("HostConfig.DeviceCgroupRules", ["a *:* rwm"]),
        ("HostConfig.PortBindings", {"8080/tcp": [{"HostPort": "8080"}]}),
        ("HostConfig.PublishAllPorts", True),
        ("HostConfig.VolumesFrom", ["another"]),
        ("HostConfig.Dns", ["10.0.0.1"]),
        ("HostConfig.ExtraHosts", ["a:10.0.0.1"]),
        ("HostConfig.Links", ["another"]),
        ("HostConfig.Sysctls", {"net.ipv4.ip_forward": "1"}),
        ("HostConfig.GroupAdd", ["docker"]),
        ("HostConfig.AutoRemove", True),
        ("HostConfig.CgroupParent", "/system"),
        ("HostConfig.MaskedPaths", []),
        ("HostConfig.MaskedPaths", ["/proc/kcore", "/proc/keys", "/sys/firmware"]),
        ("HostConfig.ReadonlyPaths", None),
        ("HostConfig.ReadonlyPaths", ["/proc/sys"]),
        ("HostConfig.Runtime", "crun"),
        ("HostConfig.Runtime", None),
        ("HostConfig.Annotations", {"cdi.k8s.io/gpu": "all"}),
        ("HostConfig.Cgroup", "container:another"),
        ("HostConfig.ContainerIDFile", "/etc/cron.d/x"),
        ("HostConfig.DnsSearch", ["example.com"]),
        ("HostConfig.StorageOpt", {"size": "1t"}),
        ("HostConfig.VolumeDriver", "another"),
        ("Config.User", "0:0"),
        ("Config.Env", ["PATH=/usr/bin", "HOME=/home/runner", "LD_PRELOAD=/model/evil.so"]),
        ("Config.Env", ["PATH=/usr/bin"]),
        ("Config.Entrypoint", ["/bin/sh", "-c"]),
        ("Config.Cmd", []),
        ("Config.WorkingDir", "/"),
        ("Config.OpenStdin", True),
        ("Config.Tty", True),
        ("Config.Healthcheck", {"Test": ["CMD", "curl"]}),
        ("Config.StopSignal", "SIGUSR1"),
        ("Config.Hostname", "host"),
    ],
)
def test_one_open_lock_is_named(member: str, value: object) -> None:
    inspected = as_inspected()
    group, _, name = member.partition(".")
    inspected[group][name] = value

    found = profile.differences(inspected, profile.expected(SPEC, uid=UID, facts=FACTS))

    assert found and all(line.startswith(f"{member}:") for line in found)


def test_every_member_that_is_asked_for_is_also_compared() -> None:
    wanted = profile.expected(SPEC, uid=UID, facts=FACTS)

    for group in ("Config", "HostConfig"):
        for name in wanted[group]:
            inspected = as_inspected()
            inspected[group][name] = "something else"
            if name == "Env":
                inspected[group][name] = ["SOMETHING=else"]
            assert any(f"{group}.{name}:" in line for line in profile.differences(inspected, wanted)), name


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda mounts: mounts.pop(0), "Mounts./model: missing"),
        (lambda mounts: mounts[0].update(RW=True), "Mounts./model.RW: True, not False"),
        (lambda mounts: mounts[0].update(Source="/etc"), "Mounts./model.Source: '/etc', not '/store/models/abc'"),
        (
            lambda mounts: mounts[1].update(Propagation="rshared"),
            "Mounts./run/moorage.Propagation: 'rshared', not 'rprivate'",
        ),
        (lambda mounts: mounts.append({"Destination": "/extra"}), "Mounts./extra: not asked for"),
    ],
)
def test_mounts_are_those_two_and_no_others(change: Any, expected: str) -> None:
    inspected = as_inspected()
    change(inspected["Mounts"])

    found = profile.differences(inspected, profile.expected(SPEC, uid=UID, facts=FACTS))

    assert found == (expected,)


def test_every_variable_of_an_image_is_removed_by_name() -> None:
    image = {"Id": "sha256:abc", "Config": {"Env": ["PATH=/evil", "LD_PRELOAD=/evil.so", "NVIDIA_VISIBLE_DEVICES=all"]}}
    wanted = profile.expected(SPEC, uid=UID, facts=FACTS)

    body = profile.create_body(wanted, image=image, labels={})

    assert body["Env"] == ["HOME=/home/runner", "PATH=/usr/bin", "LD_PRELOAD", "NVIDIA_VISIBLE_DEVICES"]
    assert body["Image"] == "sha256:abc"


@pytest.mark.parametrize("given", ["unconfined", "", "another"])
def test_where_there_is_apparmor_a_container_without_dockers_profile_is_named(given: str) -> None:
    facts = EngineFacts(has_apparmor=True)
    wanted = profile.expected(SPEC, uid=UID, facts=facts)
    inspected = as_inspected() | {"AppArmorProfile": given}
    inspected["HostConfig"]["SecurityOpt"] = wanted["HostConfig"]["SecurityOpt"]

    found = profile.differences(inspected, wanted)

    assert "apparmor=docker-default" in wanted["HostConfig"]["SecurityOpt"]
    assert found == (f"AppArmorProfile: {given!r}, not 'docker-default'",)


def test_a_network_that_was_attached_later_is_named() -> None:
    inspected = as_inspected() | {"NetworkSettings": {"Networks": {"none": {}, "bridge": {}}}}

    found = profile.differences(inspected, profile.expected(SPEC, uid=UID, facts=FACTS))

    assert found == ("NetworkSettings.Networks: attached to 'bridge'",)


def test_a_difference_of_thousands_of_characters_is_told_in_a_line() -> None:
    inspected = as_inspected()
    inspected["HostConfig"]["SecurityOpt"] = ["seccomp=unconfined"]

    (found,) = profile.differences(inspected, profile.expected(SPEC, uid=UID, facts=FACTS))

    assert len(found) < 400 and "unconfined" in found


def test_an_engine_without_a_system_call_filter_is_unfit() -> None:
    assert profile.weaknesses(FACTS) == ()
    assert profile.weaknesses(EngineFacts(seccomp="unconfined"))
    assert profile.weaknesses(EngineFacts(seccomp=""))


def test_a_kernel_without_swap_accounting_is_expected_to_say_so() -> None:
    wanted = profile.expected(SPEC, uid=UID, facts=EngineFacts(has_swap_limit=False))

    assert wanted["HostConfig"]["MemorySwap"] == -1


def test_replicas_have_user_ids_of_their_own_far_from_peoples() -> None:
    uids = {profile.uid_of(f"rep_{number}") for number in range(2000)}

    assert len(uids) == 2000
    assert min(uids) >= 1_000_000_000
    assert max(uids) < 2**31
    assert profile.uid_of("rep_1") == profile.uid_of("rep_1")


def test_only_vllm_on_a_gpu_may_load_libraries_from_its_cache() -> None:
    def options(engine: Engine, devices: tuple[str, ...]) -> dict[str, str]:
        spec = dataclasses.replace(SPEC, engine=engine, device_ids=devices)
        return profile.expected(spec, uid=UID, facts=FACTS)["HostConfig"]["Tmpfs"]

    for walled in (options(Engine.LLAMACPP, ("GPU-1",)), options(Engine.VLLM, ())):
        assert all("noexec" in each and "nosuid" in each and "nodev" in each for each in walled.values())
    compiling = options(Engine.VLLM, ("GPU-1",))
    assert "noexec" in compiling["/tmp"] and "noexec" not in compiling["/home/runner"]
