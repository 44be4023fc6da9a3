"""What goes wrong while an instance is started, as a person reads it.

InstanceError          one sentence that says what to do
├── PartMissing        a program the instance needs is not here and cannot be made here
└── StartFailed        a process did not become ready; carries the end of its log
"""

from moorage.kernel.errors import PlatformError


class InstanceError(PlatformError):
    """The instance cannot do this now. `./manage.py status` says what runs and `./manage.py logs` why."""

    code = "instance_error"


class PartMissing(InstanceError):
    """A program that Moorage needs is missing on this machine."""

    code = "part_missing"


class StartFailed(InstanceError):
    """A process did not become ready. Read its log with `./manage.py logs`."""

    code = "start_failed"
