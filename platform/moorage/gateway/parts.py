"""What every request needs at hand: one of each, made by the server and shared by all connections of the worker."""

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from moorage.gateway.access_log import AccessLog
from moorage.gateway.activity import Activity
from moorage.gateway.admission import Admission
from moorage.gateway.event_templates import EventTemplates
from moorage.gateway.holding import Holding
from moorage.gateway.host_names import HostNames
from moorage.gateway.idempotency import Idempotency
from moorage.gateway.journal_writer import JournalWriter
from moorage.gateway.keys import Keyring
from moorage.gateway.large_bodies import LargeBodies
from moorage.gateway.metrics import Metrics
from moorage.gateway.pool import Pool
from moorage.gateway.routes import RouteTable
from moorage.gateway.settings import Settings
from moorage.gateway.tls import Certificate
from moorage.gateway.traces import Traces

if TYPE_CHECKING:
    from moorage.gateway.client_protocol import ClientProtocol
    from moorage.gateway.exchange import Exchange


@dataclasses.dataclass(slots=True, kw_only=True)
class Parts:
    """``keys`` and ``routes`` are replaced as a whole when the control plane says so; the rest stays."""

    loop: asyncio.AbstractEventLoop
    settings: Settings
    metrics: Metrics
    journal: JournalWriter
    holding: Holding
    activity: Activity
    admission: Admission
    pool: Pool
    access_log: AccessLog
    idempotency: Idempotency
    large_bodies: LargeBodies
    hosts: HostNames = dataclasses.field(default_factory=HostNames)
    #: None: nobody takes traces.
    traces: Traces | None = None
    #: None: plain HTTP is spoken.
    certificate: Certificate | None = None
    templates: EventTemplates = dataclasses.field(default_factory=EventTemplates)
    keys: Keyring = dataclasses.field(default_factory=Keyring)
    routes: RouteTable = dataclasses.field(default_factory=RouteTable)
    connections: "set[ClientProtocol]" = dataclasses.field(default_factory=set)
    live: "set[Exchange]" = dataclasses.field(default_factory=set)
    #: Keys and routes were read at least once.
    is_loaded: bool = False
    is_database_connected: bool = False
    is_stopping: bool = False
