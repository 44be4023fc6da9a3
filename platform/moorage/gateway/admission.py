"""Whether a request may start: a hold on what it may cost at most, taken here and settled when it has ended."""

from typing import Final, Protocol

from moorage.kernel.errors import PlatformError
from moorage.wire.records import KeyGrant, Route


class Hold(Protocol):
    """What one request may use at most, until it says what it used."""

    #: Whole header lines for the answer.
    headers: bytes

    def settle(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> None:
        """Say what was used, once; the rest goes back."""


class Asker(Protocol):
    """A request that waits for a hold."""

    def admitted(self, hold: Hold) -> None:
        """There is a hold after all."""

    def not_admitted(self, error: PlatformError) -> None:
        """There is none."""


class Admission(Protocol):
    """Decides from local state."""

    def take(
        self, asker: Asker, grant: KeyGrant, route: Route, *, input_tokens: int, output_tokens: int
    ) -> Hold | None:
        """A hold for these worst cases; None when ``asker`` is told later. Raises PlatformError."""

    def forget(self, asker: Asker) -> None:
        """It waits no longer."""


class _FreeHold:
    headers = b""

    def settle(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> None:
        return


FREE_HOLD: Final = _FreeHold()


class NoLimits:
    """Admits everything."""

    def take(
        self, asker: Asker, grant: KeyGrant, route: Route, *, input_tokens: int, output_tokens: int
    ) -> Hold | None:
        return FREE_HOLD

    def forget(self, asker: Asker) -> None:
        return
