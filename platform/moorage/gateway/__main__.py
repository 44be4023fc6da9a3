"""``python -m moorage.gateway``: one worker, until SIGTERM or Ctrl-C."""

import asyncio
import os
import signal
import sys

import uvloop

from moorage.gateway import secrecy
from moorage.gateway.server import Server
from moorage.gateway.settings import Settings, SettingsError


async def serve(settings: Settings) -> None:
    """Serve until a signal says to stop; a second signal is not needed and changes nothing."""
    server = Server(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, server.read_certificate)
    await server.start()
    await stop.wait()
    await server.stop()


def main() -> int:
    """The process's exit status."""
    try:
        secrecy.forbid_core_dumps()
        settings = Settings.from_environment(os.environ)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (SettingsError, OSError) as error:
        print(f"gateway_failed error={error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
