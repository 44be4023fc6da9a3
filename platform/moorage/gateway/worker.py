"""One worker: its event loop, its signals, its end."""

import asyncio
import signal
import sys
from collections.abc import Mapping

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


def main(environ: Mapping[str, str]) -> int:
    """The process's exit status."""
    try:
        secrecy.forbid_core_dumps()
        settings = Settings.from_environment(environ)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (SettingsError, OSError) as error:
        print(f"gateway_failed error={error}", file=sys.stderr)
        return 1
    return 0
