"""What can go wrong between a decision and a running container.

FleetError                   ours; whoever reconciles reads ``permanent`` to choose between retry and failure
├── RuntimeUnreachable       503, passes: the container runtime did not answer; nothing is known about its containers
├── RuntimeFailed            500, passes: the runtime answered, and refused or broke off for a reason of its own
│   └── StartFailed          the container exists no more, because its program could not be started
├── ImageMissing             permanent: the runner image is not on the node
├── ContainerMissing         404: there is no container of that name (only ``logs``, ``pause``, ``unpause`` ask for one)
├── ContainerConflict        409, permanent: the name is taken by a container that was made from another spec
├── ProfileMismatch          permanent: the engine made something else than was asked for; it has been removed
├── RuntimeClassMissing      permanent: the container runtime that this organization's class asks for is not there
├── NotTheProvisioner        permanent: a process that may not reach the container runtime asked for it
├── FlagRefused              422, permanent: a runtime flag that no tenant may set, or one that the platform sets itself
├── NotForThisNode           422: what an administrator asks for a node cannot be, such as a name that is no label
├── NodeNotFound             404: no node has this name
├── PoolInvalid              422, permanent: the operator's pool file cannot be read; the message says where
└── NoCapacity               409, passes: no node has room; the message says what would fit
    └── RoomIsIdle           there would be room if replicas that nobody calls were put away; they are named
"""

from typing import ClassVar

from moorage.kernel.errors import PlatformError


class FleetError(PlatformError):
    """The fleet could not do what was asked. Try again; if it stays, tell the administrator."""

    code: ClassVar[str] = "fleet_error"
    permanent = False


class RuntimeUnreachable(FleetError):
    """The container runtime does not answer, so the state of its containers is unknown. Nothing was changed."""

    code, status_code = "runtime_unreachable", 503


class RuntimeFailed(FleetError):
    """The container runtime refused or broke off. It will be tried again."""

    code = "runtime_failed"


class StartFailed(RuntimeFailed):
    """The runner's program could not be started. Its container has been removed."""

    code = "start_failed"


class ImageMissing(FleetError):
    """The runner image is not on this node. Build it with `./manage.py up`, or pull it."""

    code = "image_missing"
    permanent = True


class ContainerMissing(FleetError):
    """There is no such container here. It may have been removed a moment ago."""

    code, status_code, type = "container_missing", 404, "invalid_request_error"


class ContainerConflict(FleetError):
    """The container's name is taken by one made from another specification. Remove that one first."""

    code, status_code, type = "container_conflict", 409, "invalid_request_error"
    permanent = True


class ProfileMismatch(FleetError):
    """The container was not what was asked for, and has been removed before it could run."""

    code = "profile_mismatch"
    permanent = True


class RuntimeClassMissing(FleetError):
    """The container runtime that this organization's class asks for is not there. Nothing was started."""

    code = "runtime_class_missing"
    permanent = True


class NotTheProvisioner(FleetError):
    """Only the provisioning worker may reach the container runtime, and this process is not it."""

    code = "not_the_provisioner"
    permanent = True


class FlagRefused(FleetError):
    """This runtime flag may not be set. Remove it from the Compose file."""

    code, status_code, type = "flag_refused", 422, "invalid_request_error"
    permanent = True


class NotForThisNode(FleetError):
    """This cannot be set on a node. Correct it and send it again."""

    code, status_code, type = "not_for_this_node", 422, "invalid_request_error"
    permanent = True


class NodeNotFound(FleetError):
    """There is no node of that name. List the nodes to see their names."""

    code, status_code, type = "node_not_found", 404, "invalid_request_error"
    permanent = True


class PoolInvalid(FleetError):
    """The pool file cannot be read. Correct it."""

    code, status_code, type = "pool_invalid", 422, "invalid_request_error"
    permanent = True


class NoCapacity(FleetError):
    """No node has room for this replica. It starts when room frees up."""

    code, status_code, type = "no_capacity", 409, "invalid_request_error"

    def __init__(self, message: str | None = None, *, reason_code: str = "nodes_full") -> None:
        super().__init__(message)
        self.reason_code = reason_code  #: one of placement.RefusalCode


class RoomIsIdle(NoCapacity):
    """The room is held by replicas that nobody calls. It starts as soon as they are put away."""

    def __init__(self, message: str | None = None, *, preempts: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.preempts = preempts  #: replica ids


class EngineDidNotSleep(FleetError):
    """The engine did not put its weights away, or did not take them back."""

    code = "engine_did_not_sleep"
