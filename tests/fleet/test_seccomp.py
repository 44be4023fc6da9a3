"""The list of system calls is a list of what may be done, and refuses what nobody named."""

import json

import pytest

from moorage.fleet import seccomp

CALLS = seccomp.profile()["syscalls"]
#: Without conditions.
ALLOWED = {name for call in CALLS if call["action"] == "SCMP_ACT_ALLOW" and not call["args"] for name in call["names"]}
#: What leads out of containers, or measures and holds others up. Docker allows the first four by default.
NEVER = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "io_uring_setup"),
    *("keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "fanotify_init"),
    *("mount", "umount2", "fsopen", "open_tree", "move_mount", "pivot_root", "chroot", "unshare", "setns"),
    *("name_to_handle_at", "open_by_handle_at", "init_module", "finit_module", "kexec_load", "reboot", "swapon"),
    *("iopl", "ioperm", "modify_ldt", "vm86", "uselib", "syslog", "settimeofday", "clock_settime", "quotactl"),
    *("io_uring_enter", "io_uring_register", "kcmp", "lookup_dcookie", "personality", "clone", "clone3", "socket"),
)


def test_whatever_is_not_named_is_refused() -> None:
    document = seccomp.profile()

    assert document["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {call["action"] for call in CALLS} == {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}


@pytest.mark.parametrize("name", NEVER)
def test_what_leads_out_is_not_allowed_without_a_condition(name: str) -> None:
    assert name not in ALLOWED


def test_sockets_are_of_four_families() -> None:
    families = {call["args"][0]["value"] for call in CALLS if call["names"] == ["socket"]}

    assert families == {1, 2, 10, 16}


def test_no_32_bit_program_calls_past_the_list() -> None:
    assert all(not each["subArchitectures"] for each in seccomp.profile()["archMap"])


def test_a_new_process_makes_no_namespace() -> None:
    (clone,) = [call for call in CALLS if call["names"] == ["clone"]]
    (flags,) = clone["args"]

    assert flags["op"] == "SCMP_CMP_MASKED_EQ" and flags["valueTwo"] == 0
    for namespace in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert flags["value"] & namespace


def test_the_text_that_is_sent_is_the_document() -> None:
    assert json.loads(seccomp.TEXT) == seccomp.profile()
    assert seccomp.REFUSED.keys() - {"clone3"} <= set(NEVER)
