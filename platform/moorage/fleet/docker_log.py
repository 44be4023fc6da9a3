"""A container's log as the Engine streams it (``GET /containers/{id}/logs``), read into lines while it grows."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, Final

import urllib3.exceptions

from moorage.fleet import runner_output
from moorage.fleet.errors import RuntimeFailed
from moorage.fleet.runner_output import LogLine

#: A runner that says nothing for so long lets whoever follows it leave.
SILENCE_SECONDS: Final = 5
_PIECE: Final = 64 * 1024


def lines(
    ask: Callable[[dict[str, str | int]], Any], *, since: dt.datetime | None, tail: int | None
) -> Iterator[LogLine | None]:
    """The lines at or after ``since``, at most the last ``tail`` of those that are there; None in every silence. Ends
    with the container. ``ask`` sends the request with these parameters and gives the streamed answer.

    A stream that is silent for a while is opened anew where it was: only so can a reader leave in between. Of a
    container that ends at once an Engine may end the stream before it has given the last lines: what is there then is
    asked for once more. Raises RuntimeFailed.
    """
    at, seen = since, 0
    has_ended = False
    while True:
        answer = ask(
            {
                "stdout": 1,
                "stderr": 1,
                "timestamps": 1,
                "follow": int(not has_ended),
                "tail": "all" if tail is None or seen else tail,
                **({} if at is None else {"since": f"{int(at.timestamp())}.{at.microsecond:06d}000"}),
            }
        )
        if answer.status_code == 404:
            return
        if answer.status_code != 200:
            raise RuntimeFailed(f"The Docker Engine refused a container's log: {answer.status_code}.")
        frames = runner_output.DockerFrames()
        try:
            for piece in answer.raw.stream(_PIECE, decode_content=False):
                for line in runner_output.new_since(frames.feed(piece), at=at, seen=seen):
                    if line is not None:
                        yield line
            if has_ended:
                yield from frames.end()
                return
            # A line that was cut off comes whole the next time.
            has_ended = True
        except urllib3.exceptions.ReadTimeoutError:
            yield None
        finally:
            answer.close()
        # Where it was, the next stream begins: lines of the very last microsecond come twice, and are told apart by
        # their number.
        at, seen = frames.last if frames.last[0] is not None else (at, seen)
