"""What a gateway tells of a replica that says nothing: for how long, while a request waits for it."""

import threading

import openai

from tests.gateway.conftest import MODEL, ControlPlane, script
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_openai_client import ask
from tests.waiting import wait_until


def silence(control: ControlPlane) -> float:
    """Seconds, the longest of any replica."""
    rows = control.rows("SELECT max((sign.value->>'silent')::float) FROM route_activity, jsonb_each(signs) AS sign")
    return float(str(rows[0][0] or 0.0))


def test_the_silence_of_an_engine_that_hangs_is_told_while_it_lasts(
    gateway: GatewayProcess, control: ControlPlane, client: openai.OpenAI
) -> None:
    def call() -> None:
        try:
            client.chat.completions.create(model=MODEL, messages=ask(script(fault="silence")), timeout=20)
        except openai.OpenAIError:
            return

    caller = threading.Thread(target=call)
    caller.start()

    wait_until(lambda: silence(control) >= 2, seconds=15)

    gateway.kill()
    caller.join(timeout=20)
    assert not caller.is_alive()
