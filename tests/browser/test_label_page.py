"""As an annotator would: log in, read the instructions, confirm, choose, tick, skip."""

import time

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.chromium import NEEDED
from tests.labelstudio import PASSWORD
from tests.world import World

pytestmark = NEEDED

STATE = """
return {
  pictures: [...document.images].map(one => one.naturalWidth),
  ticked: [...document.querySelectorAll('input[type=radio], input[type=checkbox]')]
    .filter(one => one.checked && one.name).map(one => one.name),
  offered: [...document.querySelectorAll('input[type=radio], input[type=checkbox]')]
    .map(one => one.name),
  text: document.body.innerText,
};
"""


@pytest.fixture
def asked(world, label_studio, monkeypatch) -> World:
    """Photos with proposals, ready to be pushed to the server."""
    for name, value in label_studio.environment.items():
        monkeypatch.setenv(name, value)
    more = f'\n[labels]\ndocuments = "{label_studio.documents}"\nguide = "Be kind."\n'
    more += "[propose]\nabstain_below = 0.0\ntemperature = 1.0\n[tasks]\nanswers = 1\n"
    world.config.write_text(world.config.read_text() + more)
    world.run("--until", "tasks")
    return world


class Annotator:
    """A person at the labelling page."""

    def __init__(self, browser, url: str, email: str) -> None:
        self.browser, self.url = browser, url
        browser.delete_all_cookies()
        browser.set_window_size(1280, 900)
        browser.get(f"{url}/user/login/")
        browser.find_element(By.NAME, "email").send_keys(email)
        browser.find_element(By.NAME, "password").send_keys(PASSWORD + Keys.ENTER)
        self.until(lambda: "/user/login" not in browser.current_url)

    def until(self, holds, seconds: float = 60.0):
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < end, self.browser.execute_script(STATE)
            time.sleep(0.1)
        return found

    def open(self, project: int) -> dict:
        self.browser.get(f"{self.url}/projects/{project}/data?labeling=1")
        return self.shown()

    def shown(self) -> dict:
        """The page once its picture is there."""
        self.until(lambda: max(self.state()["pictures"], default=0) > 100)
        return self.state()

    def state(self) -> dict:
        return self.browser.execute_script(STATE)

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def hold(self, key: str) -> None:
        """Control and a key; then the next task, or none."""
        before = self.state()["text"]
        chain = ActionChains(self.browser).key_down(Keys.CONTROL).send_keys(key)
        chain.key_up(Keys.CONTROL).perform()
        self.until(lambda: self.state()["text"] != before)


def key(state: dict, choice: str) -> str:
    """The hotkey the page shows beside a choice."""
    lines = state["text"].replace("\n", "").split(f"{choice}[")
    return lines[1][0]


def test_an_annotator_confirms_chooses_ticks_and_skips(asked, label_studio, browser):
    pushed = asked.json("labels", "push", "--quiet")
    person = label_studio.annotator("browser")
    page = Annotator(browser, label_studio.url, person.email)
    first = page.open(pushed["project"])
    assert "ctrl" in first["text"].lower()
    assert "Be kind." in first["text"]
    page.press(Keys.ESCAPE)
    page.until(lambda: "Be kind." not in page.state()["text"])
    assert "nobody" in first["text"], "attribution"
    proposed = [name for name in first["ticked"] if name in ("snow", "grass")]
    assert len(proposed) == 1
    page.hold(Keys.ENTER)
    second = page.shown()
    pre = next(name for name in second["ticked"] if name in ("snow", "grass"))
    other = "grass" if pre == "snow" else "snow"
    page.press(key(second, other))
    page.until(lambda: other in page.state()["ticked"])
    page.press("q", "n")
    page.until(lambda: {"label_noise", "wrong_animal"} <= {*page.state()["ticked"]})
    page.hold(Keys.ENTER)
    page.shown()
    page.hold(Keys.SPACE)
    result = asked.json("labels", "pull", "--quiet")
    assert result["annotations"] == 3
    assert result["skipped"] == 1
    rows = asked.log("label_events")
    backgrounds = [row for row in rows if row["question"] == "background"]
    assert [(row["answer"], row["origin"]) for row in backgrounds] == [
        (proposed[0], "confirmed"),
        (other, "chosen"),
        ("skipped", "chosen"),
    ]
    assert all(row["lead_time_s"] > 0 for row in backgrounds[:2])
    yes = {(row["photo_id"], row["question"]) for row in rows if row["answer"] == "yes"}
    chosen = backgrounds[1]["photo_id"]
    assert yes == {(chosen, "label_noise"), (chosen, "wrong_animal")}
    assert asked.json("labels", "pull", "--quiet")["annotations"] == 0
