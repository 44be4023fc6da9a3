"""Documents that cannot drift: the sample environment, the README's links and its Compose file."""

import re

from moorage import compose
from tests.architecture.test_layout import PACKAGE, ROOT

_NAME = re.compile(r'"((?:MOORAGE|STRIPE|DOCKER|DATABASE|BROKER|OTEL)_[A-Z_]+)"')


def test_every_variable_that_is_read_stands_in_the_sample_and_no_other() -> None:
    places = ("config/settings.py", "config/instance/databases.py", "gateway/settings.py")
    readers = [PACKAGE / place for place in places]
    read = {name for path in readers for name in _NAME.findall(path.read_text())}
    by_up = {"MOORAGE_RUNNER_BASE_IMAGE", "MOORAGE_GATEWAY_WORKERS", "MOORAGE_GATEWAY_COMPILED"}

    sampled = set(re.findall(r"^([A-Z_]+)=", (ROOT / "deploy" / "environment.sample").read_text(), re.MULTILINE))

    assert sampled == read | by_up


def test_the_readmes_links_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *PACKAGE.rglob("README.md"), *(ROOT / "runners").glob("*/README.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.relative_to(ROOT)} links to {link}"


def test_the_readmes_compose_file_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    parsed = compose.parse(text, deployment_name="first")

    assert [model.key for model in parsed.spec.models] == ["llm"]
    assert compose.parse((ROOT / "runners" / "demo" / "compose.yaml").read_text(), deployment_name="demo")
