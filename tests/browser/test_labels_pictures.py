"""An annotator's own browser shows the pictures, by each of the three ways."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from curation.commands import opened
from curation.labelling import images, interface, serve
from curation.labelling.bucket import cors
from curation.labelstudio import LabelStudio
from scripts.labelstudio import free_port
from tests.browser.chromium import NEEDED
from tests.labelstudio import PASSWORD

pytestmark = [*NEEDED, pytest.mark.xdist_group("near")]

# the picture itself, not the small ones in the list of tasks
WIDEST = """
return Math.max(0, ...[...document.images]
  .filter(one => one.getBoundingClientRect().width > 200)
  .map(one => one.naturalWidth));
"""
ALL = "return Math.max(0, ...[...document.images].map(one => one.naturalWidth))"
TEXT = "return document.body.innerText"


@pytest.fixture
def studio(near):
    studio = LabelStudio(near.url, near.token)
    yield studio
    studio.close()


@pytest.fixture
def page(browser, near):
    """The browser, an annotator logged in by the form."""
    email = near.annotator("eva").email
    browser.delete_all_cookies()
    browser.set_window_size(1280, 900)
    browser.get(f"{near.url}/user/login/")
    browser.find_element(By.NAME, "email").send_keys(email)
    browser.find_element(By.NAME, "password").send_keys(PASSWORD + Keys.ENTER)
    until(lambda: "/user/login" not in browser.current_url)
    return browser


def until(holds, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@contextmanager
def pushed(world, studio, **labels):
    """Route and tasks of two photos, of which browsers would show one."""
    bears = sorted((world.photos / "bear").iterdir())
    picture = Image.open(bears[0])
    bears[0].unlink()
    picture.save(bears[0].with_suffix(".tif"))
    for path in (*bears[2:], *(world.photos / "dog").iterdir()):
        path.unlink()
    lines = "".join(f"{key} = {json.dumps(str(v))}\n" for key, v in labels.items())
    with world.config.open("a") as file:
        file.write(f"\n[labels]\n{lines}")
    world.run("--until", "fetch")
    with opened(world.config, world.work) as route:
        photos = route.table("photos").column("photo_id").to_pylist()
        places = images.place(route, photos)
        project = studio.create_project(
            title="pictures",
            description="",
            interface=interface.xml(route.config, blind=True),
            instructions="",
            answers=1,
            show_proposals=False,
        )
        images.connect(route, studio, project.id)
        tasks = [
            {"data": {"image": image, "key": key, "class_name": "bear",
                      "attribution": "by nobody"}}
            for key, image in places.items()
        ]  # fmt: skip
        numbers = studio.import_tasks(project.id, tasks)
        yield (
            route,
            project.id,
            list(zip(numbers, places, places.values(), strict=True)),
        )


def address(near, project: int, task: int) -> str:
    return f"{near.url}/projects/{project}/data?task={task}"


def assert_shown(page, near, project: int, tasks, folder) -> None:
    for number, _, _ in tasks:
        page.get(address(near, project, number))
        until(lambda: page.execute_script(WIDEST) > 100)
        page.save_screenshot(str(folder / f"{number}.png"))


def test_from_a_folder(world, near, studio, page, tmp_path):
    with pushed(world, studio, documents=near.documents) as (route, project, tasks):
        assert len(tasks) == 2
        assert images.preflight(route, studio, tasks) == []
        assert_shown(page, near, project, tasks, tmp_path)


def test_from_a_server_of_ours(world, near, studio, page, tmp_path):
    where = f"http://127.0.0.1:{free_port()}"
    settings = {"images": "serve", "address": where}
    with pushed(world, studio, **settings) as (route, project, tasks):
        server = serve.listening(route)
        running = threading.Thread(target=server.serve_forever, args=(0.05,))
        running.start()
        try:
            assert images.preflight(route, studio, tasks) == []
            assert_shown(page, near, project, tasks, tmp_path)
        finally:
            server.shutdown()
            server.server_close()
            running.join()


def test_from_a_bucket_and_not_without_its_rules(
    world, near, studio, page, service, keys, tmp_path
):
    service.bucket("photos")
    settings = {"images": "s3", "bucket": "photos", "endpoint": service.url}
    with pushed(world, studio, **settings) as (route, project, tasks):
        (problem,) = images.preflight(route, studio, tasks)
        assert "Access-Control-Allow-Origin is missing" in problem
        page.get(address(near, project, tasks[0][0]))
        until(lambda: "CORS" in page.execute_script(TEXT))  # what people get to see
        assert page.execute_script(ALL) < 100
        page.save_screenshot(str(tmp_path / "without.png"))
        service.client.put_bucket_cors(
            Bucket="photos",
            CORSConfiguration={"CORSRules": json.loads(cors(near.url))},
        )
        assert images.preflight(route, studio, tasks) == []
        # a browser remembers an answer that it might not show
        page.execute_cdp_cmd("Network.clearBrowserCache", {})
        assert_shown(page, near, project, tasks, tmp_path)
