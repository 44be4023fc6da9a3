"""What is mounted around the runners' directory, read from the kernel's list."""

from pathlib import Path

import pytest

from moorage.config.instance import passage

#: The machine's root, a mount that passes on, the runners' directory bound onto itself, somebody's file system.
ROOT = "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
SHARED = "28 27 254:1 / /srv rw shared:3 - ext4 /dev/vdb rw\n"
OWN = "29 27 254:0 /var/a\\040b /var/a\\040b rw shared:4 - ext4 /dev/vda rw\n"
ANOTHERS = "30 27 0:40 / /var/a\\040b rw - tmpfs tmpfs rw\n"
BELOW = "31 27 0:41 / /var/a\\040b/rep_1 rw - tmpfs moorage rw\n"
BESIDE = "32 27 0:42 / /var/a\\040bc rw - tmpfs tmpfs rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "expected"),
    [
        (ROOT, passage.Found(is_shared=False, is_own=False, below=())),
        (ROOT + BESIDE, passage.Found(is_shared=False, is_own=False, below=())),
        (ROOT + BELOW, passage.Found(is_shared=False, is_own=False, below=(Path("/var/a b/rep_1"),))),
        (ROOT + ANOTHERS, passage.Found(is_shared=False, is_own=False, below=())),
        (ROOT + OWN, passage.Found(is_shared=True, is_own=True, below=())),
        (ROOT + OWN.replace(" shared:4", ""), passage.Found(is_shared=False, is_own=True, below=())),
    ],
)
def test_what_is_mounted_around_a_directory_is_read_as_the_kernel_writes_it(
    mountinfo: str, expected: passage.Found
) -> None:
    assert passage.look(Path("/var/a b"), mountinfo=mountinfo) == expected


def test_a_directory_below_a_shared_mount_passes_on_and_is_not_our_own() -> None:
    found = passage.look(Path("/srv/moorage/run"), mountinfo=ROOT + SHARED)

    assert found == passage.Found(is_shared=True, is_own=False, below=())
