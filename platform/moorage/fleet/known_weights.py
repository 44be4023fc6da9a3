"""What is known of the weights on nodes, forgotten when it is not so any more: a place is chosen by what is true."""

import datetime as dt
from collections.abc import Callable, Collection, Iterable
from typing import Final

from django.db.models import Q

from moorage.fleet import machine
from moorage.fleet.models import NodeWeights

#: Weights that no replica of their node has used for so long are as good as gone: stores are cleaned by operators.
UNUSED: Final = dt.timedelta(days=30)


def forget(
    *,
    in_use: Collection[tuple[str, str]],
    are_here: Callable[[Iterable[str]], Collection[str]],
    now: dt.datetime,
) -> int:
    """Removes digests that this machine's store does not have any more, and those of any node that nobody has used for
    UNUSED; how many. ``in_use``: node and digest of every replica that there is. ``are_here``: which of some digests
    this machine's store has."""
    for node_id, digest in in_use:
        NodeWeights.objects.filter(node_id=node_id, digest=digest).update(seen_at=now)
    ours = NodeWeights.objects.filter(node__name=machine.name(), node__is_emulated=False)
    known = dict(ours.values_list("digest", "seen_at"))
    gone = known.keys() - set(are_here(known))
    # What was brought while the store was being looked at stays.
    lost = Q(pk__in=ours.filter(digest__in=gone)) & ~Q(seen_at__gt=max(known.values(), default=now))
    return NodeWeights.objects.filter(lost | Q(seen_at__lt=now - UNUSED)).delete()[0]
