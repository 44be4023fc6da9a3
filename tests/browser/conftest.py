"""A real Chromium in front of the real stack.

Playwright's synchronous interface runs an event loop in its thread, in which Django refuses the ORM: what a test needs
in the database is made before it asks for ``browser``, or through the pages themselves.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.flows.conftest import (
    committed_db,
    pytest_runtest_makereport,
    runtime,
    stack,
    stack_environment,
    stack_home,
)
from tests.flows.stack import Stack

__all__ = ["committed_db", "pytest_runtest_makereport", "runtime", "stack", "stack_environment", "stack_home"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def browser(chromium: Path) -> Iterator[Browser]:
    """Chromium, ended afterwards."""
    # A busy machine renders late; what is awaited comes or does not.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(chromium), args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(stack: Stack, browser: Browser) -> Iterator[Page]:
    """A page at the console's address. Whatever the browser itself complains of, the policy's refusals too, fails."""
    context = browser.new_context(base_url=stack.console_url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console",
        lambda message: complaints.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield opened
    context.close()
    assert complaints == []
