"""``python -m tests.benchmarks.unrecorded_gateway``: a gateway whose journal writes nothing, to see what one costs.

There is no setting for this: outside of a measurement nothing billable is ever answered unrecorded.
"""

import os
import sys

from moorage.gateway import server
from moorage.gateway.journal_writer import JournalWriter, Then
from moorage.gateway.worker import main


class Unrecorded(JournalWriter):
    """Says yes to everything, at once."""

    def start(self) -> None:
        return

    @property
    def is_healthy(self) -> bool:
        return True

    def admit(self) -> bool:
        return True

    def open_as(self, request_id: str, record: bytes, then: Then) -> None:
        then(True)

    def close_as(self, request_id: str, record: bytes, then: Then | None = None) -> None:
        if then is not None:
            then(True)

    def checkpoint(self, content: bytes) -> None:
        return

    def tick(self) -> None:
        return

    def stop(self) -> None:
        return


if __name__ == "__main__":
    server.JournalWriter = Unrecorded  # type: ignore[misc]
    sys.exit(main(os.environ))
