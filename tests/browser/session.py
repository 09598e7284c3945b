"""Logging in as a person does."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser


def log_in(browser: Browser, url: str, user: str, password: str) -> dict[str, Any]:
    """Fill in Airflow's login page; returns the browser's state afterwards."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/auth/login")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda address: "/auth/login" not in address)
    page.wait_for_load_state("networkidle")
    state = context.storage_state()
    context.close()
    return dict(state)
