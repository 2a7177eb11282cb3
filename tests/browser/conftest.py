"""Headless Chromium, one for each file of tests."""

import pytest

from tests.browser.chromium import start


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
