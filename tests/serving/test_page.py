"""The page of the service in a browser. It is skipped where there is no Chromium, or no playwright."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn
from PIL import Image
from recbole.utils import init_seed

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.quick_start import build_model
from recbole_mm.serving import Recommender
from recbole_mm.serving.parts import Parts, run_parts
from recbole_mm.serving.service.app import create_app
from recbole_mm.testing.planted import COLOURS, WORDS, settings, write_planted
from recbole_mm.training.loaders import create_dataset, data_preparation

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the PATH, nor in $CHROMIUM")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
KEYS = {"encoder_training": "pretrained", "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """The planted shop, in which i4 has an odd title and i8 no picture, and u0 has both."""
    folder = write_planted(tmp_path_factory.mktemp("page") / "shop", n_users=12, n_items=32)
    lines = (folder / "shop.item").read_text().splitlines()
    lines[5], lines[9] = f"i4\t{SCRIPT}\t{WORDS[0]}\t4.png", f"i8\t{WORDS[0]}\t\t"
    (folder / "shop.item").write_text("\n".join(lines) + "\n")
    rows = (folder / "shop.inter").read_text().splitlines()
    own = [f"u0\ti{item}\t{time}" for time, item in enumerate((0, 4, 8, 12, 16))]
    (folder / "shop.inter").write_text("\n".join([rows[0], *own, *(row for row in rows[1:] if not row.startswith("u0\t"))]) + "\n")
    return folder


@pytest.fixture(scope="module")
def parts(shop) -> Parts:
    """Of an untrained model."""
    config = MultiModalConfig("CLIPRec", shop.name, config_dict=settings(shop, **KEYS))
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    training_part = data_preparation(config, dataset)[0]
    return run_parts(config, build_model(config, training_part), dataset, training_part.dataset)


@pytest.fixture(scope="module")
def address(parts):
    """Where a service listens, in a thread of this process."""
    with served(parts) as where:
        yield where


@contextmanager
def served(parts: Parts) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(Recommender(parts)), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except playwright.Error as error:
            pytest.skip(f"{CHROMIUM} does not start: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture()
def visit(chromium, address):
    """Opens a page of the service. At the end nothing has gone wrong in it, and nothing has been asked of anybody else."""
    wrong, asked, contexts = [], [], []

    def open_page(query: str = "", size: dict = DESK, scheme: str = "light", address: str = address):
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address + query)
        ready(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == [] and asked and all(url.startswith(("http://127.0.0.1:", "blob:")) for url in asked)


def ready(page) -> None:
    page.wait_for_selector("main:not([aria-busy])")


def shown(page, name: str):
    """The cards of a section."""
    return page.get_by_role("region", name=name, exact=True).first.locator(".card")


def all_drawn(page, cards) -> None:
    for place in range(cards.count()):
        cards.nth(place).scroll_into_view_if_needed()
    sizes = cards.locator("img").evaluate_all(
        "images => Promise.all(images.map(image => image.decode())).then(() => images.map(image => image.naturalWidth))"
    )
    assert sizes and all(size > 0 for size in sizes)


def test_a_user_is_typed_and_history_and_recommendations_are_drawn(visit, address):
    page = visit()
    page.get_by_role("combobox", name="User").fill("U0")
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="u0", exact=True).wait_for()
    assert page.url == address + "?user=u0"
    history, recommended = shown(page, "History"), shown(page, "Recommended")
    assert [card.get_attribute("href") for card in history.locator("a").all()] == [f"?item=i{i}" for i in (16, 12, 8, 4, 0)]
    assert recommended.count() == 24 and {"?item=i4", "?item=i8"}.isdisjoint(
        a.get_attribute("href") for a in recommended.locator("a").all()
    )
    assert history.nth(2).locator("img").count() == 0 and history.nth(2).locator(".no-picture").inner_text() == "L"
    assert history.nth(3).locator(".caption").text_content() == SCRIPT and page.locator("main script").count() == 0
    all_drawn(page, history)
    all_drawn(page, recommended)


def test_an_item_shows_its_neighbours_by_model_picture_and_text(visit, address):
    page = visit("?user=u0")
    shown(page, "History").nth(4).locator("a").click()
    page.get_by_role("navigation", name="Similar by").wait_for()
    assert page.url == address + "?item=i0" and shown(page, "Similar items").count() == 24
    assert page.evaluate("document.activeElement.tagName") == "H1"
    for words, by, taste in (("By picture", "image", 1), ("By text", "text", 2)):
        page.get_by_role("link", name=words).click()
        page.locator("[aria-current]", has_text=words).wait_for()
        assert page.url == address + f"?item=i0&by={by}"
        nearest = [a.get_attribute("href") for a in shown(page, "Similar items").locator("a").all()][:4]
        assert all(int(href.removeprefix("?item=i")) // taste % 2 == 0 for href in nearest)
    page.go_back()
    page.locator("[aria-current]", has_text="By picture").wait_for()


def test_some_items_are_chosen_like_those_of_a_user(visit, address):
    page = visit("?item=i5")
    page.get_by_role("link", name="Recommend for this item").click()
    page.get_by_role("button", name="Add ").first.click()
    page.get_by_role("heading", name="2 items").wait_for()
    assert shown(page, "Chosen").count() == 2 and page.url.startswith(address + "?like=i5&like=i")
    page.get_by_role("button", name="Remove ").first.click()
    page.get_by_role("heading", name="1 item").wait_for()
    page.reload()
    page.get_by_role("heading", name="1 item").wait_for()


def test_search_by_words_and_by_a_picture(visit, tmp_path):
    page = visit()
    page.get_by_text("Search", exact=True).first.click()
    page.get_by_role("combobox", name="Search").fill(WORDS[1])
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=WORDS[1]).wait_for()
    assert shown(page, "Found").first.locator(".caption").text_content() == WORDS[1]
    Image.new("RGB", (900, 900), COLOURS[1]).save(tmp_path / "large.png", compress_level=0)
    assert (tmp_path / "large.png").stat().st_size > 2**21, "large enough to be made smaller first"
    page.locator("#picture").set_input_files(tmp_path / "large.png")
    page.get_by_role("heading", name="by a picture").wait_for()
    found = [int(a.get_attribute("href").removeprefix("?item=i")) for a in shown(page, "Found").locator("a").all()]
    assert [item % 2 for item in found[:6]] == [1] * 6
    all_drawn(page, page.locator(".query"))
    page.reload()
    page.get_by_text("Choose it again").wait_for()


def test_without_an_encoder_words_are_looked_for_in_the_titles(visit, parts):
    with served(replace(parts, manifest={"with_encoder": False})) as address:
        page = visit("?text=SILK", address=address)
        found = shown(page, "Found").locator(".caption").all_text_contents()
        assert len(found) == 16 and set(found) == {WORDS[1]}
        page.locator("#picture").wait_for(state="detached")
        page.get_by_role("combobox", name="Search").fill("alert(2)")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="alert(2)").wait_for()
        assert shown(page, "Found").locator("a").get_attribute("href") == "?item=i4"


def test_a_random_user_and_more_recommendations(visit):
    page, met = visit("?user=u0&k=5"), set()
    page.get_by_role("button", name="Show more").click()
    shown(page, "Recommended").nth(5).wait_for()
    assert page.url.endswith("?user=u0&k=29") and shown(page, "Recommended").count() == 27, "5 of 32 are in the history"
    while len(met) < 3:
        page.get_by_role("button", name="Random user").click()
        page.wait_for_url(lambda url: "&k=" not in url)
        ready(page)
        met.add(page.url.rpartition("?user=")[2])
    assert met <= {f"u{i}" for i in range(12)}


@pytest.mark.parametrize("query", ["", "?user=u0", "?item=i4&by=text", "?like=i4&like=i9", "?text=boots"])
def test_a_phone_in_the_dark_scrolls_downwards_alone(visit, query):
    page = visit(query, PHONE, "dark")
    width, ground = page.evaluate("[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]")
    assert width == PHONE["width"] and max(int(part) for part in ground[4:-1].split(",")) < 60
    assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_what_is_unknown_is_told(chromium, address):
    page = chromium.new_page()
    page.goto(address + "?user=nobody")
    page.get_by_role("alert").get_by_text("unknown user 'nobody'").wait_for()
    page.goto(address + "?item=i8&by=image")
    page.get_by_text("has no image").wait_for()
    page.get_by_role("link", name="By text").wait_for()
    page.close()
