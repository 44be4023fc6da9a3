"""The records between the control plane and the gateway.

``Route`` and ``KeyGrant`` go down (PostgreSQL to gateway), ``UsageEvent`` comes up (journal to PostgreSQL).
All are immutable msgspec structs with unknown members ignored, so that either side may be one version ahead. What goes
down is JSON, what comes up is msgpack.
"""

from typing import Final, Literal

import msgspec

from moorage.wire.limits import NO_LIMITS, Limits

#: PostgreSQL channels. The payload is the id of what changed; the listener reads the row again.
ROUTE_CHANGED: Final = "moorage_route"
KEY_CHANGED: Final = "moorage_key"
ORGANIZATION_CHANGED: Final = "moorage_organization"
PRICE_CHANGED: Final = "moorage_price"
#: A worker is short of an allowance; whoever has an idle lease of it gives it back. The payload names the allowance.
LEASE_WANTED: Final = "moorage_lease"
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
    slots: int = 0  #: requests its engine answers at once; 0: not known, then not limited
    revision_id: str = ""  #: whose replica it is; "": the route's
    #: Its revision's share of the requests, the same for all replicas of one; 0 everywhere: nothing is shared out.
    weight: int = 0


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
    kind: str  #: chat | embedding | rerank
    context_size: int
    status: str  #: ready | idle (wakes on a request) | provisioning | paused | failed
    reason: str = ""  #: one sentence for people when not ready
    replicas: tuple[ReplicaAddress, ...] = ()
    created_at: int = 0  #: Unix seconds, for /v1/models
    #: Of the furthest replica while none is ready: pending | placed | pulling | starting; "" when none is on its way.
    stage: str = ""
    percent: int | None = None  #: of the stage
    expected_at: int = 0  #: when one should be ready, Unix seconds; 0: not known
    has_chat_template: bool = True  #: the model brings one
    has_tools: bool = True  #: its template or its flags let it call tools
    #: Rises with every change; a gateway says by it which it has heard of. 0: not known.
    version: int = 0
    #: The update whose revisions share the requests by weight; gateways count for each. "": there is none.
    trial: str = ""


class KeyGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What one API key may do at the gateway. ``sha256`` is hex; the secret itself is nowhere."""

    id: str
    sha256: str
    organization_id: str
    standing: str  #: as it was when the key was read; the organization's own document is the truth
    scopes: tuple[str, ...]
    expires_at: float | None = None  #: Unix seconds
    models: tuple[str, ...] = ()  #: served names it is limited to; empty: all of the organization
    limits: Limits = NO_LIMITS
    networks: tuple[str, ...] = ()  #: CIDR networks it may be used from; empty: anywhere
    priority: str = "normal"  #: low | normal | high: its weight among its organization's keys, where requests wait


class OrganizationGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What one organization may do at the gateway, whichever of its keys is used."""

    id: str
    slug: str
    standing: str  #: active | past_due | suspended
    limits: Limits = NO_LIMITS
    deployments: dict[str, Limits] = {}  #: limits of its deployments, by their ids
    #: It pays in advance: its balance is the allowance (id, money, always), and without a lease of it nothing runs.
    has_wallet: bool = False
    #: What it pays in, ISO 4217: its limits of money, its balance and the prices that hold for it.
    currency: str = "USD"


class PriceGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A price from a moment on, until the next of the same meter, model, organization and currency, or its end.
    ``model`` is a served name or a pattern with ``*``: an organization's own wins, then the most specific one."""

    id: str
    meter: str  #: input_tokens | cached_input_tokens | output_tokens | requests
    model: str
    pico_per_unit: int  #: of a graduated price the dearest rate
    valid_from_us: int  #: Unix microseconds
    valid_to_us: int | None = None
    organization_id: str = ""  #: whose alone it is; empty: everybody's
    currency: str = "USD"  #: whoever pays in another is not reached by it


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One request, however it ended. Times are Unix microseconds; token counts are what is billed.

    An array on the wire: members are added at the end, with a default, and never move.
    """

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
    #: The engine's figure was not borne out by what was delivered, and the lower one is billed.
    is_disputed: bool = False
