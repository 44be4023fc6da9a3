"""The records between the control plane and the gateway.

``Route`` and ``KeyGrant`` go down (PostgreSQL to gateway), ``UsageEvent`` comes up (journal to PostgreSQL).
All are immutable msgspec structs, encoded as JSON with unknown members ignored, so that either side may be one
version ahead.
"""

from typing import Final, Literal

import msgspec

#: PostgreSQL channels. The payload is the id of what changed; the listener reads the row again.
ROUTE_CHANGED: Final = "moorage_route"
KEY_CHANGED: Final = "moorage_key"
WAKE_REQUESTED: Final = "moorage_wake"
WORK_CHANGED: Final = "moorage_work"

#: Where a request's token counts come from, best first.
UsageSource = Literal["engine", "engine_running", "gateway", "none"]
#: How a request ended.
Outcome = Literal["completed", "client_gone", "engine_failed", "gateway_lost", "refused"]


class ReplicaAddress(msgspec.Struct, frozen=True, kw_only=True):
    """One ready replica: its id and the Unix socket its runner answers on."""

    id: str
    socket: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's view of one served name: the endpoint of one model of one deployment."""

    id: str  #: the route row's key: ``<deployment id>:<model key>``
    organization_id: str
    served_name: str  #: what clients send as ``model``
    deployment_id: str
    deployment_name: str
    model_key: str
    revision_id: str
    engine: str  #: llamacpp | vllm
    kind: str  #: chat | embedding
    context_size: int
    status: str  #: ready | idle (wakes on a request) | provisioning | paused | failed
    reason: str = ""  #: one sentence for people when not ready
    replicas: tuple[ReplicaAddress, ...] = ()
    created_at: int = 0  #: Unix seconds, for /v1/models


class KeyGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What one API key may do at the gateway. ``sha256`` is hex; the secret itself is nowhere."""

    id: str
    sha256: str
    organization_id: str
    standing: str  #: active | past_due | suspended
    scopes: tuple[str, ...]
    expires_at: float | None = None  #: Unix seconds
    models: tuple[str, ...] = ()  #: served names it is limited to; empty: all of the organization


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One request, however it ended. Times are Unix microseconds; token counts are what is billed."""

    request_id: str
    organization_id: str
    deployment_id: str
    revision_id: str
    replica_id: str
    key_id: str
    model_key: str
    served_name: str
    path: str
    is_stream: bool
    outcome: Outcome
    status: int  #: HTTP status sent to the client
    input_tokens: int  #: all prompt tokens, cached ones included
    cached_tokens: int
    output_tokens: int
    source: UsageSource
    started_at_us: int
    first_token_at_us: int | None = None
    ended_at_us: int = 0
    held_us: int = 0  #: time spent waiting for a wake
