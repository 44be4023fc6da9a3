"""All leases of this worker and the gates made of them: what the control plane has said, and what to tell the database.

Nothing here waits or asks; the whole of it belongs to the event loop's thread. Portions are small, so that a hundred
thousand leases keep no request waiting.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from moorage.gateway.gates import NO_QUOTE, Gate, Settling
from moorage.gateway.lease_row import Row
from moorage.gateway.leases import Lease
from moorage.gateway.price_list import PriceList
from moorage.kernel import window
from moorage.kernel.currencies import USD
from moorage.kernel.window import Window
from moorage.wire.limits import NO_LIMITS, Limits, Measure
from moorage.wire.records import KeyGrant, OrganizationGrant, Route

#: Leases and keys looked at for idleness at a time.
_SWEPT_AT_ONCE: Final = 1000
_GATES_AT_ONCE: Final = 1000
#: The most leases one call of the database speaks of.
_ROWS_AT_ONCE: Final = 400
#: What was used is told after so many seconds, the more the more keys are in use: telling is the database's work, and a
#: lease that has enough needs none of it.
_TELL_SOONEST: Final = 0.5
_TELL_LATEST: Final = 5.0
_KEYS_A_SECOND: Final = 200
#: How long before a minute ends the leases of the next one are fetched for whoever is using this one.
_AHEAD_SECONDS: Final = 3.0
#: A wallet's size is the database's to say.
_UNKNOWN: Final = 2**127


class Report:
    """One call of gateway_lease."""

    __slots__ = ("is_cut", "leases", "rows")

    def __init__(self, *, leases: list[Lease], rows: list[Row], is_cut: bool = False) -> None:
        self.leases = leases
        self.rows = rows
        #: There is more to say at once.
        self.is_cut = is_cut


class LeaseBook:
    """Leases by what they are of, gates by key and route."""

    def __init__(self, settling: Settling) -> None:
        self.organizations: Final[dict[str, OrganizationGrant]] = {}
        self.gates: Final[dict[str, dict[str, Gate]]] = {}
        self._settling = settling
        self._leases: Final[dict[tuple[str, Measure, Window, int], Lease]] = {}
        self._dirty: list[Gate] = []
        self._due: list[Lease] = []
        #: Those that somebody waits for.
        self._urgent: list[Lease] = []
        self._sweep: list[Lease] = []
        self._swept_keys: list[str] = []
        self._bounds: Final = dict.fromkeys(Window, (0, 0))
        #: Another worker is short of what lies here.
        self.is_wanted = False

    def __len__(self) -> int:
        return len(self._leases)

    # -- the control plane's word

    def put_organization(self, grant: OrganizationGrant) -> None:
        """New limits, or a new standing, of an organization."""
        if not grant.limits and grant.limits is not NO_LIMITS:
            grant = msgspec.structs.replace(grant, limits=NO_LIMITS)
        known = self.organizations.get(grant.id)
        self.organizations[grant.id] = grant
        if known is None or _limits_of(known) != _limits_of(grant):
            self.gates.clear()

    def remove_organization(self, organization_id: str) -> None:
        """It is gone, and its keys with it."""
        if self.organizations.pop(organization_id, None) is not None:
            self.gates.clear()

    def put_prices(self, prices: PriceList) -> None:
        """Other prices are in force, now or some time."""
        self._settling.prices = prices
        self.gates.clear()

    def wanted(self, subject: str, measure: str, kind: str, starts: int) -> bool:
        """Another worker is short of this allowance. Returns whether something of it lies here."""
        lease = self._leases.get((subject, Measure(measure), Window(kind), starts))
        if lease is None or lease.free <= 0:
            return False
        lease.is_wanted = self.is_wanted = True
        self.tell_soon(lease)
        return True

    # -- which leases a request needs

    def gate_of(self, grant: KeyGrant, route: Route, now: float) -> Gate:
        """The gate, made anew where a window of it has ended or a lease of it was forgotten."""
        gate = self.gates.get(grant.id, {}).get(route.id)
        if gate is None or now >= gate.ends or any(lease.is_forgotten for lease in gate.leases):
            gate = self.make_gate(grant, route, now)
        return gate

    def make_gate(self, grant: KeyGrant, route: Route, now: float) -> Gate:
        """A gate for the windows that hold ``now``, kept until something changes."""
        at = int(now)
        organization = self.organizations.get(grant.organization_id)
        leases = list(self._leases_of(grant.id, grant.limits, grant.organization_id, at))
        if organization is not None:
            own = organization.deployments.get(route.deployment_id, NO_LIMITS)
            leases += self._leases_of(route.deployment_id, own, organization.id, at)
            leases += self._leases_of(organization.id, organization.limits, organization.id, at)
            if organization.has_wallet:
                leases.append(self._lease(organization.id, Measure.MONEY, Window.ALWAYS, None, organization.id, at))
        is_priced = any(lease.measure is Measure.MONEY for lease in leases)
        owner = grant.organization_id
        currency = organization.currency if organization is not None else USD
        quote = self._settling.prices.quote(route.served_name, now, owner, currency) if is_priced else NO_QUOTE
        gate = Gate(
            settling=self._settling,
            leases=leases,
            quote=quote,
            served_name=route.served_name,
            organization_id=owner,
            currency=currency,
        )
        self.gates.setdefault(grant.id, {})[route.id] = gate
        return gate

    def _leases_of(self, subject: str, limits: Limits, organization_id: str, at: int) -> Iterable[Lease]:
        for measure, kind, amount in limits:
            yield self._lease(subject, measure, kind, amount, organization_id, at)

    def _lease(
        self, subject: str, measure: Measure, kind: Window, capacity: int | None, organization_id: str, at: int
    ) -> Lease:
        """``capacity`` None: the database alone knows."""
        starts, ends = self._bounds[kind]
        if not starts <= at < ends:
            starts, ends = self._bounds[kind] = window.bounds(kind, at)
        lease = self._leases.get((subject, measure, kind, starts))
        if lease is None:
            before = self._leases.get((subject, measure, kind, window.start_of(kind, starts - 1)))
            lease = Lease(
                subject=subject,
                organization_id=organization_id,
                measure=measure,
                window=kind,
                starts=starts,
                ends=ends,
                capacity=_UNKNOWN if capacity is None else capacity,
                kept=before.kept if before is not None else 0,
            )
            lease.used_at = float(at)
            self._leases[lease.key] = lease
        elif capacity is not None and lease.capacity != capacity:
            lease.change_capacity(capacity)
            self.tell_soon(lease)
        return lease

    # -- what to tell the database

    def note(self, gate: Gate) -> None:
        """Something of ``gate`` is to be reported."""
        gate.is_dirty = True
        self._dirty.append(gate)

    def tell_soon(self, lease: Lease) -> None:
        """The next report speaks of ``lease``."""
        if not lease.is_due:
            lease.is_due = True
            self._due.append(lease)

    @property
    def has_more(self) -> bool:
        """Whether another report is worth making."""
        return bool(self._urgent or self._due or self._dirty)

    def tell_now(self, lease: Lease) -> None:
        """The next report speaks of ``lease`` before others: somebody waits for it."""
        if not lease.is_urgent:
            lease.is_urgent = True
            self._urgent.append(lease)

    def report(self, now: float) -> Report:
        """What to say now; ``now`` is Unix seconds. It must be said, again and again until it is heard, before the
        next one is made."""
        self.is_wanted = False
        self._look_for_low(now)
        self._look_for_idle(now)
        leases, self._urgent = self._urgent[:_ROWS_AT_ONCE], self._urgent[_ROWS_AT_ONCE:]
        for lease in leases:
            lease.is_urgent = lease.is_due = False
        taken = 0
        while taken < len(self._due) and len(leases) < _ROWS_AT_ONCE:
            lease = self._due[taken]
            taken += 1
            if lease.is_due:
                lease.is_due = False
                leases.append(lease)
        del self._due[:taken]
        rows = [lease.tell(n, now) for n, lease in enumerate(leases)]
        return Report(leases=leases, rows=rows, is_cut=bool(self._urgent or self._due))

    def last_report(self) -> Report:
        """Everything that is held or was used, to be given back: the worker ends."""
        leases = [lease for lease in self._leases.values() if lease.amount or lease.unreported]
        return Report(leases=leases, rows=[lease.tell(n, lease.ends) for n, lease in enumerate(leases)])

    def _look_for_low(self, now: float) -> None:
        """Of a portion of what was used lately, what is worth telling; the rest is looked at again."""
        patience = min(_TELL_LATEST, max(_TELL_SOONEST, len(self._dirty) / _KEYS_A_SECOND))
        gates, self._dirty = self._dirty[:_GATES_AT_ONCE], self._dirty[_GATES_AT_ONCE:]
        for gate in gates:
            gate.is_dirty = False
            for lease in gate.leases:
                lease.used_at = now
                if lease.window is Window.MINUTE and now < lease.ends <= now + _AHEAD_SECONDS:
                    self._fetch_next(lease)
                if lease.is_worth_telling(now, patience):
                    self.tell_soon(lease)
                elif lease.unreported and not gate.is_dirty:
                    self.note(gate)

    def _fetch_next(self, lease: Lease) -> None:
        """Whoever used this minute is likely to use the next: its first request should find a lease."""
        coming = self._lease(
            lease.subject, lease.measure, lease.window, lease.capacity, lease.organization_id, lease.ends
        )
        if not coming.told_at:
            coming.kept, coming.floor = lease.kept, lease.floor
            self.tell_soon(coming)

    def _look_for_idle(self, now: float) -> None:
        if not self._sweep:
            self._sweep = list(self._leases.values())
            self._drop_gates()
        batch, self._sweep = self._sweep[-_SWEPT_AT_ONCE:], self._sweep[:-_SWEPT_AT_ONCE]
        for lease in batch:
            if lease.is_idle(now):
                if lease.is_empty and not lease.is_due:
                    self._leases.pop(lease.key, None)
                    lease.is_forgotten = True
                elif lease.free > 0 or lease.unreported:
                    self.tell_soon(lease)

    def _drop_gates(self) -> None:
        """Of a portion of the keys, those gates whose every lease is forgotten."""
        if not self._swept_keys:
            self._swept_keys = list(self.gates)
        batch, self._swept_keys = self._swept_keys[-_SWEPT_AT_ONCE:], self._swept_keys[:-_SWEPT_AT_ONCE]
        for key_id in batch:
            gates = self.gates.get(key_id)
            if gates is not None and all(lease.is_forgotten for gate in gates.values() for lease in gate.leases):
                del self.gates[key_id]


def _limits_of(grant: OrganizationGrant) -> tuple[Limits, dict[str, Limits], bool, str]:
    return grant.limits, grant.deployments, grant.has_wallet, grant.currency
