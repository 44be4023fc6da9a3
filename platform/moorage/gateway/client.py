"""The port of a connection that waits for an answer, as an exchange sees it."""

from typing import Protocol

from moorage.kernel.errors import PlatformError


class Client(Protocol):
    """The connection that waits for the answer."""

    def begin_stream(self, headers: bytes = b"") -> None:
        """Send the head of a stream."""

    def send_stream(self, data: bytes) -> None:
        """Send a piece of a stream; never an empty one."""

    def end_stream(self, data: bytes, *, must_close: bool = False) -> None:
        """Send the last piece."""

    def answer(self, status: int, content: bytes, headers: bytes = b"") -> None:
        """Send an answer in one piece."""

    def answer_error(self, error: PlatformError) -> None:
        """Send an error."""

    def abort(self) -> None:
        """Close at once."""
