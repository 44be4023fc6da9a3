"""The port of a connection that waits for an answer, as an exchange sees it."""

from moorage.gateway.chunks import Chunks
from moorage.kernel.errors import PlatformError


class Client:
    """The connection that waits for the answer."""

    __slots__ = ()

    def begin_stream(self, headers: bytes = b"") -> None:
        """Send the head of a stream."""

    def send_stream(self, data: bytes) -> None:
        """Send a piece of a stream; never an empty one."""

    def send_chunks(self, chunks: Chunks) -> None:
        """Send pieces of a stream that are chunks already."""

    def ends_soon(self) -> None:
        """The engine has said all, and the end follows when the usage is on disk: what is sent until then goes out
        with it, in one write."""

    def end_stream(self, data: bytes, *, must_close: bool = False) -> None:
        """Send the last piece."""

    def answer(self, status: int, content: bytes, headers: bytes = b"") -> None:
        """Send an answer in one piece."""

    def answer_error(self, error: PlatformError) -> None:
        """Send an error."""

    def take_request_id(self, request_id: str) -> None:
        """Answer under the id of another call."""

    def let_go_of_body(self) -> None:
        """The request's body is not needed any more."""

    def abort(self) -> None:
        """Close at once."""
