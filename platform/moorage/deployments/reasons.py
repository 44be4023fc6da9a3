"""Why something is in its status: one code for programs and one sentence for people, for every wait and every end."""

import enum


class Reason(enum.Enum):
    """The code is stored and shown; the sentence is shown with it, followed by the particulars where there are any."""

    NEW = ("new", "Waiting for its first look.")
    NO_CAPACITY = ("no_capacity", "Waiting for room on a node.")
    PLACED = ("placed", "Has room on a node.")
    PULLING = ("pulling", "Bringing the weights to the node.")
    STARTING = ("starting", "Starting the engine and loading the weights.")
    FIRST_TOKEN = ("first_token", "The engine has answered one real token.")
    SERVING = ("serving", "Serves requests.")
    NEW_REVISION = ("new_revision", "A newer revision has taken over.")
    SURPLUS = ("surplus", "Fewer replicas are enough for the present load.")
    IDLE = ("idle", "Nobody called for the idle time; the next request wakes it.")
    PAUSED = ("paused", "Paused by its owner; requests do not wake it.")
    DELETED = ("deleted", "The deployment is deleted.")
    DRAINED = ("drained", "No request is left in it.")
    REMOVED = ("removed", "Its container is gone and its room is free.")
    # What goes wrong.
    OUT_OF_MEMORY = ("out_of_memory", "The engine was ended because it used more memory than it had reserved.")
    ENGINE_EXITED = ("engine_exited", "The engine ended by itself.")
    CONTAINER_GONE = ("container_gone", "Its container is not there any more.")
    START_TIMEOUT = ("start_timeout", "The engine did not answer a first token in time.")
    START_REFUSED = ("start_refused", "The container could not be started.")
    IMAGE_MISSING = ("image_missing", "The runner image of this engine is not on the node.")
    FLAG_REFUSED = ("flag_refused", "A runtime flag is not allowed.")
    PULL_FAILED = ("pull_failed", "The weights could not be brought to the node.")
    ARTIFACT_REFUSED = ("artifact_refused", "The weights are not what their digest or header says.")
    RUNTIME_UNREACHABLE = (
        "runtime_unreachable",
        "The container runtime does not answer; nothing is changed meanwhile.",
    )
    WAITING_TO_RETRY = ("waiting_to_retry", "Failed and waits before the next try.")

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        self.sentence = sentence

    def explain(self, detail: str = "") -> str:
        """The sentence, and the particulars behind it."""
        return f"{self.sentence} {detail}".strip()


_BY_CODE = {reason.code: reason for reason in Reason}


def from_code(code: str) -> Reason:
    """The reason with this code; NEW for a code of another version of Moorage."""
    return _BY_CODE.get(code, Reason.NEW)
