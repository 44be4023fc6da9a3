"""A lease as the SQL function gateway_lease is told and tells of it."""

import msgspec


class Row(msgspec.Struct, kw_only=True):
    """One lease in a call of the SQL function gateway_lease, which says what the members mean."""

    n: int
    subject: str
    measure: str
    window: str
    starts: int
    ends: int
    spent: int
    given: int
    enough: int
    target: int
    call: bool
