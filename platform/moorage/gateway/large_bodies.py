"""The bytes of large request bodies that this worker keeps: bounded in all, and for each organization by half of it.

Ten megabytes a body and thousands of connections are more than a machine has, and requests that wait for a model that
wakes keep theirs for a minute. Small bodies are not counted: the number of connections bounds them.
"""

from typing import Final

from moorage.gateway.errors import TooManyLargeRequests

#: A body of more bytes is a large one.
LARGE: Final = 64 * 1024


class LargeBodies:
    """Who keeps how much. Belongs to the event loop's thread."""

    def __init__(self, *, limit: int) -> None:
        """``limit`` in bytes."""
        self._limit: Final = limit
        self._share: Final = limit // 2
        self._by_organization: Final[dict[str, int]] = {}
        self.held = 0

    def take(self, organization_id: str, size: int) -> None:
        """Keep so many bytes more. Raises TooManyLargeRequests."""
        own = self._by_organization.get(organization_id, 0) + size
        if own > self._share or self.held + size > self._limit:
            raise TooManyLargeRequests
        self._by_organization[organization_id] = own
        self.held += size

    def give_back(self, organization_id: str, size: int) -> None:
        """So many bytes are no longer kept."""
        left = self._by_organization[organization_id] - size
        if left:
            self._by_organization[organization_id] = left
        else:
            del self._by_organization[organization_id]
        self.held -= size
