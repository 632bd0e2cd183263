"""A browser for tests of pages."""

from __future__ import annotations

import pytest


@pytest.fixture(scope='session')
def browser(tmp_path_factory):
    """Headless Chromium; tests that need it are skipped without it."""
    pytest.importorskip('websocket', reason='websocket-client is not installed')
    from tests.report.devtools import Browser, find_chromium  # needs websocket

    program = find_chromium()
    if program is None:
        pytest.skip('no Chromium or Chrome on this machine')
    browser = Browser(program, tmp_path_factory.mktemp('profile'))
    yield browser
    browser.close()
