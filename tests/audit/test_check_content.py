"""Items, pictures and texts: each defect is found, and named with its item."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from recbole_mm.audit.look_alikes import difference_hash, look_alikes, thumbnail
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
    both = scenes + copies
    groups = look_alikes(np.array([difference_hash(i) for i in both], dtype=np.uint64), np.stack([thumbnail(i) for i in both]))
    same = [groups[i] == groups[300 + i] for i in range(100)]
    assert sum(same) >= 85
    assert len(set(groups[:300].tolist())) == 300


def test_colour_alone_tells_pictures_apart():
    red, blue = (Image.new("RGB", (40, 40), colour) for colour in ((200, 20, 20), (20, 20, 200)))
    hashes = np.array([difference_hash(red), difference_hash(blue), difference_hash(red)], dtype=np.uint64)
    groups = look_alikes(hashes, np.stack([thumbnail(red), thumbnail(blue), thumbnail(red)]))
    assert groups[0] == groups[2] != groups[1]
