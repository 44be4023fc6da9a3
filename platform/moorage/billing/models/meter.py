"""What is summed and priced."""

from django.db import models


class Meter(models.TextChoices):
    """What is summed and priced. Input tokens that came from the cache are counted as cached, not twice."""

    INPUT_TOKENS = "input_tokens", "Input tokens"
    CACHED_INPUT_TOKENS = "cached_input_tokens", "Cached input tokens"
    OUTPUT_TOKENS = "output_tokens", "Output tokens"
    #: Requests that used a token. Where they have no price they are free: a price by the request is an extra.
    REQUESTS = "requests", "Requests"
    REPLICA_SECONDS = "replica_seconds", "Replica seconds"


class ReplicaState(models.TextChoices):
    """What a replica did in its seconds, where metering says so."""

    PULL = "pull", "Pulling"
    LOAD = "load", "Loading"
    FROZEN = "frozen", "Frozen"
    IDLE = "idle", "Idle"
    BUSY = "busy", "Busy"
