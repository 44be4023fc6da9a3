"""A new user walks from sign-up to an answer that streams, and to the end of the deployment, in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.flows.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.engine]

WRONG = "models:\n  llm:\n    modle: catalog/harbour:q8_0\n    context_size: many\n"
RIGHT = """\
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 512
services:
  app:
    image: app
    models: [llm]
"""


def sign_up(page: Page) -> None:
    page.goto("/")
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("E-mail").fill("dora@example.com")
    page.get_by_label("Password").fill("a rope around a bollard")
    page.get_by_role("button", name="Sign up").click()
    page.get_by_label("Name", exact=True).fill("Dora's dock")
    page.get_by_label("Short name").fill("dock")
    page.get_by_role("button", name="Create").click()


def test_from_sign_up_to_a_streamed_answer(stack: Stack, page: Page) -> None:
    sign_up(page)
    expect(page.get_by_text("Nothing runs here yet.")).to_be_visible()

    # A wrong file: everything that is wrong, between its lines, and the text is kept.
    page.get_by_role("link", name="Deploy them").click()
    page.get_by_label("Name").fill("demo")
    page.get_by_label("Compose file").fill(WRONG)
    page.get_by_role("button", name="Deploy").click()
    expect(page.locator(".listing .note.error")).to_have_count(3)
    expect(page.locator(".numbers .wrong").first).to_be_visible()
    assert page.get_by_label("Compose file").input_value() == WRONG

    # The plan, which writes nothing; then for real, watched until it is ready.
    page.get_by_label("Compose file").fill(RIGHT)
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("#plan")).to_contain_text("Start demo/llm: catalog/harbour:q8_0 on llamacpp")
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.locator("#state .status")).to_have_text("Ready", timeout=60_000)
    expect(page.locator("#replicas tbody .status")).to_have_text("Ready")
    expect(page.get_by_text(f"LLM_URL={stack.gateway_url}/v1/")).to_be_visible()

    # Ask it.
    page.get_by_role("main").get_by_role("link", name="Playground").click()
    page.get_by_label("Message", exact=True).fill("Tell me a long story")
    page.get_by_text("System message, limits").click()
    page.get_by_label("Tokens at most").fill("200")
    page.evaluate(
        """() => {
          window.pieces = 0;
          new MutationObserver(() => window.pieces++).observe(document.getElementById("answer"), {childList: true});
        }"""
    )
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#tokens")).to_have_text(re.compile(r"[1-9]\d* input tokens.*, [1-9]\d* output tokens"))
    assert page.locator("#answer").inner_text().strip()
    assert page.evaluate("window.pieces") > 2, "the answer came piece by piece"
    expect(page.locator("#failure")).to_have_text("")

    # The key that asked is gone; one of one's own is shown once.
    page.get_by_role("link", name="Keys").click()
    page.get_by_text("1 revoked or expired key").click()
    expect(page.locator("tbody tr").filter(has_text="playground")).to_contain_text("revoked")
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret").inner_text()
    assert secret.startswith("mk_live_")
    answer = (
        stack.openai(secret)
        .chat.completions.create(model="demo/llm", messages=[{"role": "user", "content": "Hello"}], max_tokens=4)
        .choices[0]
    )
    assert answer.message.content
    page.get_by_role("link", name="Keys").click()
    expect(page.get_by_text(secret)).to_have_count(0)

    # The end of it.
    page.get_by_role("link", name="Deployments").click()
    page.get_by_role("link", name="demo", exact=True).click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("demo is being deleted.")).to_be_visible()
