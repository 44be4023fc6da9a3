"""How to call a model: the same request for a shell and for Python, filled in with this endpoint. Pure."""

import dataclasses

from moorage.deployments.pins import Pin

_QUESTION = "Hello"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """One model and how it is called. The key stays in the variable MOORAGE_KEY."""

    served_name: str
    curl: str
    python: str


def call(pin: Pin, *, gateway_url: str) -> Call:
    """The snippets for one model behind the gateway at ``gateway_url``."""
    if pin.kind == "embedding":
        path, asked = "embeddings", f'"input": "{_QUESTION}"'
        lines = [
            "answer = client.embeddings.create(",
            f'    model="{pin.served_name}", input="{_QUESTION}"',
            ")",
            "print(answer.data[0].embedding)",
        ]
    elif pin.kind == "rerank":
        path, asked = "rerank", f'"query": "{_QUESTION}", "documents": ["ahoy", "goodbye"]'
        lines = [
            "answer = client.post(",
            '    "/rerank", cast_to=object,',
            f'    body={{"model": "{pin.served_name}", "query": "{_QUESTION}", "documents": ["ahoy", "goodbye"]}},',
            ")",
            "print(answer)",
        ]
    else:
        path, asked = "chat/completions", f'"messages": [{{"role": "user", "content": "{_QUESTION}"}}]'
        lines = [
            "answer = client.chat.completions.create(",
            f'    model="{pin.served_name}",',
            f'    messages=[{{"role": "user", "content": "{_QUESTION}"}}],',
            ")",
            "print(answer.choices[0].message.content)",
        ]
    curl = [
        f"curl {gateway_url}/v1/{path}",
        '-H "Authorization: Bearer $MOORAGE_KEY"',
        '-H "Content-Type: application/json"',
        # A served name has no character that a shell or JSON takes for its own.
        f"""-d '{{"model": "{pin.served_name}",\n       {asked}}}'""",
    ]
    head = [
        "from os import environ",
        "",
        "from openai import OpenAI",
        "",
        "client = OpenAI(",
        f'    base_url="{gateway_url}/v1",',
        '    api_key=environ["MOORAGE_KEY"],',
        ")",
    ]
    return Call(served_name=pin.served_name, curl=" \\\n  ".join(curl), python="\n".join([*head, *lines]))
