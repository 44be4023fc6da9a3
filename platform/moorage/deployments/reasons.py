"""Why something is in its status: one code for programs and one sentence for people, for every wait and every end."""

import enum


class Reason(enum.Enum):
    """The code is stored and shown; the sentence is shown with it, followed by the particulars where there are any."""

    NEW = ("new", "Waiting for its first look.")
    NO_CAPACITY = ("no_capacity", "Waiting for room on a node.")
    ROOM_HELD = ("room_held", "Its weights are on the node; it waits for the room of the one that it replaces.")
    PLACED = ("placed", "Has room on a node.")
    PULLING = ("pulling", "Bringing the weights to the node.")
    STARTING = ("starting", "Starting the engine and loading the weights.")
    FIRST_TOKEN = ("first_token", "The engine has answered one real token.")
    SERVING = ("serving", "Serves requests.")
    NEW_REVISION = ("new_revision", "A newer revision has taken over.")
    NODE_DRAINED = ("node_drained", "Its node is drained; another replica has taken over elsewhere.")
    MAKES_WAY = ("makes_way", "Makes way for the revision that replaces it; requests wait meanwhile.")
    ON_TRIAL = ("on_trial", "Serves requests; a newer revision is on trial beside the one before.")
    SURPLUS = ("surplus", "Fewer replicas are enough for the present load.")
    IDLE = ("idle", "Nobody called for the idle time; the next request wakes it.")
    PAUSED = ("paused", "Paused by its owner; requests do not wake it.")
    WITHHELD_BALANCE = (
        "withheld_balance",
        "Stopped because the balance is used up. Top up the wallet: it may run again within seconds.",
    )
    WITHHELD_STANDING = (
        "withheld_standing",
        "Stopped because the organization is suspended. Pay what is open: it may run again within seconds.",
    )
    DELETED = ("deleted", "The deployment is deleted.")
    DRAINED = ("drained", "No request is left in it.")
    # Asleep, and awake again.
    FROZEN = ("frozen", "Nobody calls: it is held still with its memory kept, and goes on within milliseconds.")
    STOPPED = ("stopped", "Nobody has called for longer: its process has ended and its room is free.")
    MEMORY_NEEDED = ("memory_needed", "Nobody called it and another replica needed its memory.")
    AWAKE = ("awake", "Woken by a request.")
    SLEPT_OUT = ("slept_out", "Nobody has called for the time that it may sleep; the next request makes a new one.")
    ENDED_ASLEEP = ("ended_asleep", "It ended while it slept; the next request makes a new one.")
    NO_ROOM_TO_WAKE = ("no_room_to_wake", "Others have taken its room while it slept; a new one is made elsewhere.")
    REMOVED = ("removed", "Its container is gone and its room is free.")
    # What goes wrong.
    OUT_OF_MEMORY = ("out_of_memory", "The engine was ended because it used more memory than it had reserved.")
    OUT_OF_DEVICE_MEMORY = ("out_of_device_memory", "The GPU's memory is too small for what was asked of it.")
    CONTEXT_TOO_LARGE = ("context_too_large", "The context does not fit into the memory that the weights leave.")
    FLAG_INVALID = ("flag_invalid", "The engine refused one of its arguments.")
    MODEL_UNSUPPORTED = ("model_unsupported", "This engine cannot run this model.")
    WEIGHTS_UNREADABLE = ("weights_unreadable", "The engine cannot read the model's files.")
    TEMPLATE_BROKEN = ("template_broken", "The engine cannot use the model's tokenizer or chat template.")
    SOCKET_FAILED = ("socket_failed", "The engine could not listen on its socket.")
    NO_TOKENS = ("no_tokens", "The engine said that it is well and produced no token any more.")
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
