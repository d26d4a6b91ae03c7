"""Items, pictures and texts: each defect is found, and named with its item."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from recbole_mm.audit.look_alikes import look_alikes, thumbnail
from recbole_mm.cli import main
from tests.audit.shops import N_ITEMS, Drawn, found, jpeg, png, scene


@pytest.fixture
def shop(tmp_path) -> Drawn:
    return Drawn(tmp_path / "data" / "shop")


def test_a_sound_shop(shop, capsys):
    shop.write()
    report = shop.audit(capsys)
    assert report["findings"] == [] and report["sound"]
    assert report["numbers"]["items"]["with_both"] == {"items": N_ITEMS, "share_of_items": 1.0, "share_of_interactions": 1.0}
    assert report["numbers"]["pictures"]["usable"] == N_ITEMS


def test_no_encoder_is_built(shop, capsys, monkeypatch):
    monkeypatch.setattr("recbole_mm.encoder.build_encoder.create_encoder", lambda *_, **__: pytest.fail("an encoder was asked for"))
    shop.write()
    shop.audit(capsys)


def spoil_pictures(shop: Drawn) -> None:
    rng, items, pictures = np.random.default_rng(1), shop.items, shop.pictures
    del pictures["0.png"]
    pictures["1.png"] = pictures["1.png"][:200]
    pictures["2.png"] = png(scene(rng, (16, 40)))
    pictures["4.png"] = pictures["3.png"]
    items["i6"][1], pictures["6.jpg"] = "6.jpg", jpeg(Image.open(BytesIO(pictures["5.png"])))
    for i in range(7, 14):
        items[f"i{i}"][1] = "none.png"
    pictures["none.png"] = png(Image.new("RGB", (64, 64), (240, 240, 240)))
    pictures["14.png"] = png(scene(rng, (40, 200)))
    items["i15"][1], pictures["15.jpg"] = "15.jpg", png(scene(rng))
    items["i16"][1] = "../16.png"
    items["i17"][1] = ""
    pictures["18.png"] = b"no picture at all"


def test_pictures(shop, capsys):
    spoil_pictures(shop)
    shop.write()
    report = shop.audit(capsys, status=1)
    findings, numbers = found(report), report["numbers"]["pictures"]
    wanted = {
        "pictures.missing": ("error", ["i0 (0.png)"]),
        "pictures.tiny": ("warning", ["i2 (16 x 40)"]),
        "pictures.extreme_ratio": ("warning", ["i14 (40 x 200)"]),
        "pictures.wrong_extension": ("info", ["i15 (PNG)"]),
        "pictures.outside": ("error", ["i16 (../16.png)"]),
        "pictures.one_colour": ("warning", [f"i{i} (none.png)" for i in range(7, 14)]),
        "pictures.placeholder": ("warning", [f"i{i}" for i in range(7, 14)]),
    }
    for code, (level, items) in wanted.items():
        assert findings[code]["level"] == level, code
        assert sorted(findings[code]["items"]) == sorted(items) and findings[code]["count"] == len(items), code
    broken = findings["pictures.broken"]["items"]
    assert findings["pictures.broken"]["level"] == "error" and len(broken) == 2
    assert {item.split(" ")[0]: "1.png: damaged" in item or "18.png: not a picture" in item for item in broken} == {"i1": True, "i18": True}
    assert "i3, i4" in findings["pictures.duplicate"]["message"] or "i4, i3" in findings["pictures.duplicate"]["message"]
    assert "i5, i6" in findings["pictures.look_alike"]["message"] or "i6, i5" in findings["pictures.look_alike"]["message"]
    assert numbers["duplicates"] == {"items": 9, "groups": 2} and numbers["look_alikes"] == {"items": 2, "groups": 1}
    assert (numbers["missing_files"], numbers["unreadable"], numbers["named"]) == (1, 2, N_ITEMS - 1)
    assert report["numbers"]["items"]["with_picture"]["items"] == N_ITEMS - 5
    assert sum(f["code"] == "pictures.placeholder" for f in report["findings"]) == 1


def test_few_broken_pictures_are_a_warning(shop, capsys):
    shop.pictures["1.png"] = b"?"
    shop.write()
    assert found(shop.audit(capsys, "--max_broken_images=0.05"))["pictures.broken"]["level"] == "warning"
    assert found(shop.audit(capsys, status=1))["pictures.broken"]["level"] == "error"


def test_texts(shop, capsys):
    spoilt = {"i0": "", "i1": "Two words", "i2": "One and the same", "i3": "One and the same", "i4": "A <b>bold</b> &amp; fine thing",
              "i5": "The CafÃ© on the corner", "i6": "word " * 100, "i7": "An entity &amp;amp;amp;amp;amp; too often"}  # fmt: skip
    for token, text in spoilt.items():
        shop.items[token][0] = text.strip()
    shop.items["i0"][1] = ""
    shop.write()
    report = shop.audit(capsys)
    findings = found(report)
    wanted = {"short": ["i1"], "html": ["i4", "i7"], "mojibake": ["i5"], "long": ["i6"], "html_left": ["i7"]}
    assert {code: sorted(findings[f"texts.{code}"]["items"]) for code in wanted} == wanted
    assert findings["texts.duplicate"]["message"].startswith("2 items in 1 groups")
    assert findings["items.bare"]["items"] == ["i0"]
    assert report["numbers"]["texts"]["empty"] == 1


def test_the_item_file(shop, capsys):
    del shop.items["i7"]
    shop.extra_rows = ["i3\tAnother text for i3\t3.png", "x1\tNobody ever bought this\t"]
    shop.write()
    findings = found(shop.audit(capsys, status=1))
    assert findings["items.duplicate_token"]["items"] == ["i3"] and findings["items.duplicate_token"]["level"] == "error"
    assert findings["items.not_in_item_file"]["items"] == ["i7"] and findings["items.not_in_item_file"]["level"] == "warning"
    assert findings["items.idle"]["items"] == ["x1"]


def test_items_that_are_called_otherwise_there(shop, capsys):
    shop.items = {f"sku-{token}": row for token, row in shop.items.items()}
    shop.write()
    found_there = found(shop.audit(capsys, status=1))["items.not_in_item_file"]
    assert found_there["level"] == "error" and found_there["count"] == N_ITEMS


def test_an_item_file_that_cannot_be_read(shop, capsys):
    shop.write()
    text = shop.file("item").read_text()
    shop.file("item").write_text(text.replace("title:token_seq", "title"))
    findings = found(shop.audit(capsys, status=1))
    assert "title" in findings["items.unreadable"]["message"] and findings["items.unreadable"]["level"] == "error"
    shop.file("item").unlink()
    assert found(shop.audit(capsys))["items.no_file"]["level"] == "warning"


def test_columns_that_are_not_there(shop, capsys):
    shop.write()
    findings = found(shop.audit(capsys, "--image_field=photo", "--text_field=blurb", status=1))
    assert "photo" in findings["pictures.no_column"]["message"] and "blurb" in findings["texts.no_column"]["message"]


def test_the_text_shows_what_the_json_holds(shop, capsys):
    spoil_pictures(shop)
    shop.write()
    report = shop.audit(capsys, status=1)
    assert main(["audit", *shop.arguments()]) == 1
    text = capsys.readouterr().out
    lines = {line.strip() for line in text.splitlines()}
    for section, values in report["numbers"].items():
        assert section in lines
        for name, value in values.items():
            if isinstance(value, int):
                assert any(line.split("  ")[0] == name.replace("_", " ") and line.endswith(f" {value:,}") for line in lines), name
    for finding in report["findings"]:
        assert f"{finding['level']:<8} {finding['code']}: {finding['message']}" in lines and f"-> {finding['action']}" in lines


def test_look_alikes_are_found_among_many():
    rng = np.random.default_rng(0)
    scenes = [scene(rng) for _ in range(300)]
    copies = [Image.open(BytesIO(jpeg(image, 60))).convert("RGB").resize((80, 80)) for image in scenes[:100]]
    groups = look_alikes(np.stack([thumbnail(image) for image in scenes + copies]))
    assert (groups[:100] == groups[300:]).all() and len(set(groups.tolist())) == 300


COLOURS = {"orange": (255, 165, 0), "dark orange": (255, 130, 0), "yellow": (255, 220, 0), "purple": (128, 0, 128), "navy": (0, 0, 100),
           "black": (20, 20, 20), "red": (200, 20, 20), "pink": (255, 150, 180)}  # fmt: skip
OUTLINES = {
    "triangle": lambda draw, m, r, fill: draw.polygon([(m, m - r), (m - r, m + r), (m + r, m + r)], fill),
    "square": lambda draw, m, r, fill: draw.rectangle([m - r, m - r, m + r, m + r], fill),
    "disc": lambda draw, m, r, fill: draw.ellipse([m - r, m - r, m + r, m + r], fill),
}


def studio(rng: np.random.Generator, outline: str, colour: str, size: int = 128, radius: float = 0.3) -> Image.Image:
    """One object on white, with the noise of a camera."""
    image = Image.new("RGB", (size, size), "white")
    OUTLINES[outline](ImageDraw.Draw(image), size / 2, radius * size, COLOURS[colour])
    return Image.fromarray((np.asarray(image) + rng.normal(0, 2, (size, size, 3))).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("radius", [0.06, 0.15, 0.4])
def test_objects_on_white_are_told_apart_by_colour_and_outline(radius):
    rng = np.random.default_rng(0)
    drawn = [studio(rng, outline, colour, radius=radius) for outline in OUTLINES for colour in COLOURS]
    if radius < 0.1:
        drawn = [drawn[0], *drawn[2 : len(COLOURS)]]  # in specks, outlines and two kinds of orange are hardly seen
    again = [Image.open(BytesIO(jpeg(image, int(quality)))) for image, quality in zip(drawn, rng.integers(60, 95, len(drawn)), strict=True)]
    groups = look_alikes(np.stack([thumbnail(image) for image in drawn + again]))
    assert (groups[: len(drawn)] == groups[len(drawn) :]).all() and len(set(groups.tolist())) == len(drawn)


def test_pictures_in_a_row_of_small_steps_are_no_group():
    row = [thumbnail(studio(np.random.default_rng(0), "disc", "pink", radius=0.2 + 0.005 * step)) for step in range(30)]
    groups = look_alikes(np.stack(row))
    assert groups[0] == groups[1] and len(set(groups.tolist())) > 5
    for group in set(groups.tolist()):
        members = np.flatnonzero(groups == group)
        assert members[-1] - members[0] < 6


def test_a_studio_has_no_placeholder_but_a_real_one_is_found(shop, capsys):
    rng = np.random.default_rng(0)
    kinds = [(outline, colour, radius) for radius in (0.2, 0.3) for outline in OUTLINES for colour in COLOURS]
    none = scene(rng, (128, 128))
    for i in range(N_ITEMS):
        shop.items[f"i{i}"][1] = f"{i}.jpg"
        shop.pictures[f"{i}.jpg"] = jpeg(studio(rng, *kinds[i][:2], radius=kinds[i][2]) if i < len(kinds) else scene(rng), 85)
    shop.write()
    assert not {"pictures.placeholder", "pictures.look_alike", "pictures.duplicate"} & set(found(shop.audit(capsys)))
    for i in range(10, 20):
        shop.pictures[f"{i}.jpg"] = jpeg(none, 60 + 3 * max(0, i - 13))
    shop.write()
    report = shop.audit(capsys)
    (placeholder,) = [finding for finding in report["findings"] if finding["code"] == "pictures.placeholder"]
    assert sorted(placeholder["items"]) == [f"i{i}" for i in range(10, 20)]
    assert report["numbers"]["pictures"]["duplicates"] == {"items": 4, "groups": 1}
    assert report["numbers"]["pictures"]["look_alikes"] == {"items": 10, "groups": 1}
