"""One question through the gateway, as any application would ask it, with a key that lives as long as the answer.

The answer is billed like any other. Question and answer pass through and are kept nowhere.
"""

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization, Scope
from moorage.kernel import clock

_KEY_LIFETIME: Final = dt.timedelta(minutes=15)
#: A gateway hears of a new key within milliseconds; until then it refuses it.
_KEY_PATIENCE_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.05
#: A model that has to wake is held by the gateway, which sends a comment now and then.
_TIMEOUT: Final = httpx.Timeout(connect=5, read=700, write=30, pool=5)
_UNREACHABLE: Final = "The gateway does not answer. Try again; if it stays, tell the administrator."


def relay(*, organization: Organization, by: Actor, body: Mapping[str, Any], gateway_url: str) -> Iterator[bytes]:
    """The answer as server-sent events: OpenAI's chunks, or one ``{"error": {"message"}}``, then ``[DONE]``.

    1. Make the key, for this one model. 2. Ask, again while the key is too new. 3. Pass the bytes on. 4. Revoke it.
    """
    made = accounts.create_key(
        organization=organization,
        name="playground",
        scopes=[Scope.INFERENCE],
        served_names=[str(body["model"])],
        expires_at=clock.now() + _KEY_LIFETIME,
        by=by,
    )
    try:
        yield b": asked\n\n"
        yield from _asked(gateway_url, made.secret, body)
    finally:
        accounts.revoke_key(key=made.key, by=by)


def _asked(gateway_url: str, secret: str, body: Mapping[str, Any]) -> Iterator[bytes]:
    headers = {"Authorization": f"Bearer {secret}", "Accept-Encoding": "identity"}
    deadline = time.monotonic() + _KEY_PATIENCE_SECONDS
    try:
        with httpx.Client(timeout=_TIMEOUT, trust_env=False, headers=headers) as client:
            while True:
                with client.stream("POST", f"{gateway_url}/v1/chat/completions", json=dict(body)) as response:
                    if response.status_code == 401 and time.monotonic() < deadline:
                        response.read()
                    elif response.status_code != 200:
                        yield _refused(response)
                        return
                    else:
                        yield from response.iter_raw()
                        return
                time.sleep(_PAUSE_SECONDS)
    except httpx.HTTPError:
        yield _event({"error": {"message": _UNREACHABLE}})


def _refused(response: httpx.Response) -> bytes:
    """The gateway's own sentence."""
    try:
        message = json.loads(response.read())["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"The gateway answered {response.status_code}."
    return _event({"error": {"message": str(message)}})


def _event(document: Mapping[str, object]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\ndata: [DONE]\n\n"
