"""What `up` ends with: addresses, keys, and two ways to call the model that work as printed; the same in up.json."""

import dataclasses
import json
import shlex

from moorage.config.instance.home import Home, write_private


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The content of up.json, key by key. Secrets are empty where an instance was not set up by this home."""

    console_url: str
    api_url: str
    gateway_url: str
    organization: str = ""
    admin_email: str = ""
    admin_password: str = ""
    api_token: str = ""
    api_key: str = ""
    model: str = ""


def read(home: Home) -> Report | None:
    """The report of the last start; None before the first."""
    if not home.up.exists():
        return None
    known = json.loads(home.up.read_text())
    return Report(**{field.name: known.get(field.name, "") for field in dataclasses.fields(Report)})


def write(home: Home, report: Report) -> None:
    """Keep it in up.json, for this user's eyes (mode 0600)."""
    write_private(home.up, json.dumps(dataclasses.asdict(report), indent=2) + "\n")


def curl(report: Report) -> str:
    """A command for a shell."""
    body = {"model": report.model, "messages": [{"role": "user", "content": "What is a moorage?"}], "max_tokens": 64}
    return (
        f"curl {report.gateway_url}/v1/chat/completions \\\n"
        f"  -H 'Authorization: Bearer {report.api_key}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(json.dumps(body))}"
    )


def python(report: Report) -> str:
    """A program for Python with nothing but its standard library."""
    body = {"model": report.model, "messages": [{"role": "user", "content": "What is a moorage?"}], "max_tokens": 64}
    return (
        "import json, urllib.request\n"
        "request = urllib.request.Request(\n"
        f"    {report.gateway_url + '/v1/chat/completions'!r},\n"
        f"    data=json.dumps({body!r}).encode(),\n"
        f"    headers={{'Authorization': {'Bearer ' + report.api_key!r}, 'Content-Type': 'application/json'}},\n"
        ")\n"
        "with urllib.request.urlopen(request) as response:\n"
        "    print(json.load(response)['choices'][0]['message']['content'])"
    )


def render(report: Report, *, home: Home, is_first: bool, warning: str | None = None) -> str:
    """The closing message. The administrator's password is in it on the first start only."""
    parts = ["Moorage is up.", "", f"  Console  {report.console_url}/"]
    if is_first:
        parts += [f"           sign in as {report.admin_email} with the password {report.admin_password}"]
        parts += ["           (random, shown this once)"]
    parts += [f"  REST     {report.api_url}/", f"  OpenAI   {report.gateway_url}/v1/"]
    if report.api_key:
        parts += [f"  Key      {report.api_key}", f"  Model    {report.model}"]
    parts += ["", f"All of it is kept in {home.up}, which only you can read."]
    if report.api_key:
        parts += ["", "Ask the demo model from a shell:", "", curl(report), "", "or from Python:", "", python(report)]
    if warning:
        parts += ["", warning]
    return "\n".join(parts) + "\n"
