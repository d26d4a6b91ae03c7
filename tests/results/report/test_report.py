"""The report of a run: what it says, and the file in a browser (skipped where there is no Chromium, or no playwright)."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from recbole_mm.cli import main
from recbole_mm.results.report.items import misses, neighbours
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.report.maps import item_maps, principal
from recbole_mm.results.report.people import people
from recbole_mm.results.report.pictures import Pictures
from recbole_mm.testing.planted import WORDS

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def loaded(checkpoints) -> LoadedRun:
    return LoadedRun.load(checkpoints[0])


@pytest.fixture(scope="module")
def page(checkpoints, tmp_path_factory) -> Path:
    """The report of CLIPRec against BPR."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["report", checkpoints[0], f"--against={checkpoints[1]}", f"--output={file}"]) == 0
    return file


def test_the_evaluation_of_now_is_that_of_the_run(loaded):
    left = loaded.record.users().set_index("user")
    for user in left.index:
        assert loaded.taken(user) == list(left.loc[user, "items"]) and loaded.ranks(user) == list(left.loc[user, "ranks"])
        assert set(loaded.before(user)).isdisjoint(loaded.taken(user) + loaded.recommended[user])
        assert loaded.value(user, "recall@10") == pytest.approx(left.loc[user, "recall@10"])
    assert loaded.agrees() and loaded.valid.mean()["recall@10"] == pytest.approx(loaded.record.valid["recall@10"], abs=1e-3)


def test_hits_are_the_items_that_were_taken_and_recall_counts_them(loaded):
    shown = people([loaded], ["CLIPRec"], Pictures(loaded.recommender.catalogue))
    assert [person.served for person in shown] == ["well"] * 3 + ["badly"] * 3 and len({person.user for person in shown}) == 6
    for person in shown:
        hits = {item.token for item in person.rankings[0].items if item.hit}
        taken = {item.token for item in person.taken}
        assert hits <= taken and len(hits) / len(taken) == pytest.approx(loaded.value(person.user, "recall@10"))
    well, badly = ([loaded.value(person.user, "ndcg@10") for person in shown if person.served == served] for served in ("well", "badly"))
    assert min(well) >= max(badly)


def test_neighbours_by_picture_have_the_colour_and_those_by_text_the_words(loaded):
    for found in neighbours(loaded, Pictures(loaded.recommender.catalogue)):
        own = int(found.item.token[1:])
        assert list(found.by) == ["picture", "text", "trained vector"]
        for by, taste in (("picture", 1), ("text", 2)):
            assert all(int(item.token[1:]) // taste % 2 == own // taste % 2 for item in found.by[by])


def test_misses_are_like_what_the_user_had(loaded):
    for found in misses(loaded, Pictures(loaded.recommender.catalogue)):
        assert found.item.token not in loaded.recommended[found.user] and len(found.alike) == 3
        assert all((int(item.token[1:]) - int(found.item.token[1:])) % 4 == 0 for item in found.alike), "colour and words are the same"
        assert int(found.item.note.split()[1]) > 10


def test_maps_have_every_item_in_the_colour_of_its_category(loaded):
    maps = item_maps(loaded, Pictures(loaded.recommender.catalogue))
    assert [found.by for found in maps] == ["trained vector", "picture", "text"] and maps[0].coloured_by == "category"
    assert all(len(found.titles) == len(found.places) == len(found.colours) == 32 for found in maps)
    assert maps[1].explained > 0.9, "a colour is one direction"


def test_principal_components_of_known_points():
    rows = np.array([[0.0, 0, 1], [4, 0, 1], [8, 0, 1], [4, 1, 1], [4, -1, 1]])
    places, explained = principal(rows)
    assert explained == pytest.approx(1) and np.abs(places[:, 0]) == pytest.approx([4, 0, 4, 0, 0])


def test_a_picture_is_in_the_file_once(page, loaded):
    text = page.read_text(encoding="utf-8")
    uris = json.loads(re.search(r'id="pictures">(.*?)</script>', text, re.DOTALL)[1])
    assert 0 < len(uris) == len(set(uris)) <= 32 and all(text.count(uri) == 1 for uri in uris)
    assert page.stat().st_size < 10e6 and text.count("plotly.js v") == 1


def test_pictures_beyond_the_budget_are_left_out(loaded, monkeypatch):
    monkeypatch.setattr("recbole_mm.results.report.pictures.BUDGET", 5_000)
    pictures = Pictures(loaded.recommender.catalogue)
    shown = [pictures.item(item) for item in loaded.recommender.items]
    assert 0 < len(pictures.uris) < 31 and sum(map(len, pictures.uris)) <= 5_000
    assert pictures.item("i8").picture is None and pictures.item("i8").initial == "S" and shown[-1].picture is None


def test_titles_stay_text(page, script):
    text = page.read_text(encoding="utf-8")
    assert script not in text and "&lt;script&gt;alert(1)" in text and WORDS[0] in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.pth"], "no record nothing.json"),
        (["nothing.pth", "--output=report.pdf"], "must end in .html"),
        (["."], "no comparison"),
        ([".", "--against=other.pth"], "--against=other.pth"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def opened(page, comparison, tmp_path_factory) -> Iterator[Callable]:
    """Opens a report in a browser on a phone. At the end nothing has gone wrong in it, and nothing has been asked of anybody."""
    if not CHROMIUM:
        pytest.skip("no Chromium on the PATH, nor in $CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    wrong, asked = [], []
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except playwright.Error as error:
            pytest.skip(f"{CHROMIUM} does not start: {error.message.splitlines()[0]}")

        def open_file(file: Path):
            tab = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="light")
            tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
            tab.on("pageerror", lambda error: wrong.append(str(error)))
            tab.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(file.as_uri())
            tab.wait_for_selector(":root[data-drawn='#f6f5f2']", state="attached")
            assert tab.evaluate("document.documentElement.scrollWidth") == 360, "a phone scrolls downwards alone"
            drawn = tab.evaluate("Promise.all([...document.images].map(image => image.decode().then(() => image.naturalWidth > 0)))")
            figures = tab.locator(".plot")
            assert len(drawn) > 100 and all(drawn) and tab.locator(".plot .main-svg").count() >= figures.count() > 5
            return tab

        yield open_file
        browser.close()
    assert wrong == [] and asked and all(url.startswith("file:") and url.endswith(".html") for url in asked)


def test_the_page_draws_itself_and_follows_the_theme(opened, page, script):
    tab = opened(page)
    assert tab.locator(".caption", has_text=script).count() > 0 and tab.locator("main script").count() == 0
    assert tab.locator(".legendtext", has_text="<script>").count() == 3, "the categories of the maps"
    point = "() => document.querySelector('.plot .points path').style.fill"
    light = tab.evaluate(point)
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_selector(":root[data-drawn='#121317']", state="attached")
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert tab.evaluate(point) != light and max(int(part) for part in ground[4:-1].split(",")) < 60


def test_a_comparison_has_a_page_as_well(opened, comparison, tmp_path):
    file = tmp_path / "comparison.html"
    assert main(["report", str(comparison), f"--output={file}"]) == 0
    tab = opened(file)
    shown = tab.locator("#leaderboard tbody tr")
    assert shown.count() == 3 and shown.nth(2).locator("th").inner_text() == "Pop (floor)"
    assert tab.locator("#users article").count() == 6 and tab.locator("#users article").first.locator(".ranked").count() == 2
