"""The port of whoever waits for an engine's answer, as the connection to the engine sees it."""

from moorage.gateway.chunks import Chunks


class Receiver:
    """Whoever waits for the answer. After ``answer_ended`` or ``engine_lost`` nothing more comes.

    A class and no protocol: native code calls its methods without looking for them.
    """

    def answer_began(self, status: int, media_type: bytes) -> None:
        """The head is complete."""

    def answer_came(self, pieces: list[bytes]) -> None:
        """What came of the body in one read, without any transfer framing. The list is not kept."""

    def answer_in_chunks(self, chunks: Chunks) -> None:
        """Many of them came in one read; they have not been taken apart."""

    def answer_whole(self, status: int, content: bytes) -> None:
        """A JSON answer was complete in one read: this instead of all the others."""

    def answer_ended(self) -> None:
        """The body is complete, by the rules of HTTP."""

    def engine_lost(self, *, is_unused: bool) -> None:
        """The connection broke, or broke the rules. ``is_unused``: before any byte of an answer."""
