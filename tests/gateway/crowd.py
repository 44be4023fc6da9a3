"""A crowd at the door, in a process of its own: connections that say nothing, and some that say it byte by byte.

``python -m tests.gateway.crowd PORT IDLE SLOW``: prints ``ready`` when all are connected and the slow ones have begun,
goes on until its standard input ends, then prints how many of them are still open.
"""

import selectors
import socket
import sys

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nX-Slow: " + b"s" * 10_000
#: Connections that are being made at one time: less than the listener's backlog.
AT_ONCE = 500


def connect(port: int, count: int, first: int) -> list[socket.socket]:
    """Connections from many loopback addresses, so that no range of ports runs out."""
    made: list[socket.socket] = []
    while len(made) < count:
        batch: list[socket.socket] = []
        waiting = selectors.DefaultSelector()
        for number in range(first + len(made), first + min(count, len(made) + AT_ONCE)):
            plug = socket.socket()
            plug.setblocking(False)
            plug.bind((f"127.0.0.{2 + number % 200}", 0))
            plug.connect_ex(("127.0.0.1", port))
            waiting.register(plug, selectors.EVENT_WRITE)
            batch.append(plug)
        left = len(batch)
        while left:
            for key, _ in waiting.select():
                waiting.unregister(key.fileobj)
                left -= 1
        waiting.close()
        made.extend(batch)
    return made


def is_open(plug: socket.socket) -> bool:
    """Whether the other side has neither answered nor closed."""
    try:
        plug.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def main(port: int, idle: int, slow: int) -> None:
    """The crowd's life."""
    quiet = connect(port, idle, 0)
    slowly = connect(port, slow, idle)
    spoken = 64
    for plug in slowly:
        plug.send(HEAD[:spoken])
    print("ready", flush=True)
    until = selectors.DefaultSelector()
    until.register(sys.stdin, selectors.EVENT_READ)
    while not until.select(timeout=0.25):
        for plug in slowly:
            plug.send(HEAD[spoken : spoken + 1])
        spoken += 1
    print(sum(is_open(plug) for plug in quiet), sum(is_open(plug) for plug in slowly), flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:4]))
