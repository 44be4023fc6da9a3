"""A person sees what happens to their deployment, as it happens: live lines, and a timeline that can be asked."""

import os
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_from_sign_up_to_answer import RIGHT, sign_up
from tests.flows.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.engine]


def shoot(page: Page, name: str) -> None:
    """For whoever wants to look: MOORAGE_SCREENSHOTS names a folder."""
    folder = os.environ.get("MOORAGE_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def print_line(database_url: str, stream: str, text: str) -> None:
    """As the worker writes what a runner has printed."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO runner_line (replica_id, deployment_id, stream, at, text)"
            " SELECT id, deployment_id, %s, now(), %s FROM replica ORDER BY created_at DESC LIMIT 1",
            (stream, text),
        )


def test_lines_come_live_and_the_timeline_is_asked(stack: Stack, page: Page, database_url: str) -> None:
    sign_up(page)
    page.get_by_role("link", name="Deploy them").click()
    page.get_by_label("Name").fill("demo")
    page.get_by_label("Compose file").fill(RIGHT)
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.locator("#state .status")).to_have_text("Ready", timeout=90_000)
    shoot(page, "deployment")

    page.get_by_role("link", name="Live logs of all of them").click()
    expect(page.locator("#log-state")).to_have_text("Live: lines come as they are printed.")
    print_line(database_url, "stdout", "server is listening")
    print_line(database_url, "stderr", "request (80004 tokens) exceeds the available context size (256 tokens)")
    print_line(database_url, "moorage", "… 12,345 lines left out")
    print_line(database_url, "stdout", "<b>markup</b> stays text")
    expect(page.locator("#log .line")).to_have_count(4)
    expect(page.locator("#log .line.stderr")).to_contain_text("exceeds the available context size")
    expect(page.locator("#log")).to_contain_text("<b>markup</b> stays text")
    shoot(page, "logs")

    page.get_by_role("main").get_by_role("link", name="demo", exact=True).click()
    page.get_by_role("link", name="Log", exact=True).click()
    expect(page.locator("#log-state")).to_have_text("Live: lines come as they are printed.")
    expect(page.locator("#log .line")).to_have_count(4)
    shoot(page, "replica-log")

    page.get_by_role("main").get_by_role("link", name="demo", exact=True).click()
    page.get_by_role("link", name="All of it, with filters").click()
    expect(page.locator("#events li").first).to_be_visible()
    shoot(page, "timeline")
    page.get_by_label("What").select_option("replica_ready")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#events li")).to_have_count(1)
    expect(page.locator("#events li")).to_contain_text("The engine has answered one real token.")
