"""The HTTP service over recommenders of the planted shop: what it answers, and what it refuses."""

import io
from base64 import b64encode

import numpy as np
import pytest
from PIL import Image

from recbole_mm.serving import Recommender
from recbole_mm.serving.parts import run_parts
from recbole_mm.serving.service import bounds
from recbole_mm.testing.planted import built, write_features, write_planted

testclient = pytest.importorskip("fastapi.testclient")
app_module = pytest.importorskip("recbole_mm.serving.service.app")
FILES = {"modalities": ["a", "b"], "feature_files": {"a": "a.safetensors", "b": "b.safetensors"}}
KEY = {"X-API-Key": "a key that nobody guesses"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = write_planted(tmp_path_factory.mktemp("service") / "shop", n_users=24, n_items=48)
    write_features(folder)
    return folder


def recommender_of(shop, model: str, **keys) -> Recommender:
    config, net, train_data, *_ = built(shop, model, **keys)
    return Recommender(run_parts(config, net, train_data.dataset, train_data.dataset))


@pytest.fixture(scope="module")
def clip(shop, tmp_path_factory) -> Recommender:
    return recommender_of(shop, "CLIPRec", encoder_training="pretrained", checkpoint_dir=str(tmp_path_factory.mktemp("clip")))


@pytest.fixture()
def client(clip):
    """Of a service with a key over a recommender with an encoder, to which tests add items of names of their own."""
    return testclient.TestClient(app_module.create_app(clip, KEY["X-API-Key"]))


@pytest.fixture(scope="module")
def vbpr(shop, tmp_path_factory) -> Recommender:
    return recommender_of(shop, "VBPR", **FILES, checkpoint_dir=str(tmp_path_factory.mktemp("vbpr")))


@pytest.fixture()
def plain(vbpr):
    """Of a service without a key, over feature files."""
    return testclient.TestClient(app_module.create_app(vbpr))


def png(width: int = 32, height: int = 32, colour=(200, 30, 30), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), colour).save(file, "PNG")
    return file.getvalue()


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def tokens(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item"] for item in answer.json()["items"]]


def test_recommends_what_the_recommender_does(client, clip):
    answer = client.get("/recommend/u3?k=4")
    table = clip.recommend(["u3"], 4)
    assert tokens(answer) == list(table["item"])
    first = answer.json()["items"][0]
    assert set(first) == {"item", "title", "picture", "rank", "score"} and first["rank"] == 1 and first["picture"]
    assert first["score"] == pytest.approx(table["score"][0]) and first["title"] == clip.catalogue.title(first["item"])
    history = clip.history("u3")
    assert not set(history) & set(tokens(client.get("/recommend/u3?k=1000")))
    assert set(tokens(client.get("/recommend/u3?k=1000&exclude_seen=false"))) == set(clip.items)
    assert tokens(client.post("/recommend", json={"history": ["i4", "i8"], "k": 3})) == list(clip.recommend_for(["i4", "i8"], 3)["item"])
    few = client.post("/recommend", json={"history": ["i4"], "candidates": ["i4", "i9"], "exclude_seen": False, "times": [2.5]})
    assert sorted(tokens(few)) == ["i4", "i9"]


def test_similar_items_and_search(client, clip, shop):
    for by in ("model", *clip.modalities):
        assert tokens(client.get(f"/similar/i5?k=3&by={by}")) == list(clip.similar("i5", 3, by)["item"])
    assert tokens(client.get("/search", params={"text": "silk dress", "k": 3})) == list(clip.search("silk dress", 3)["item"])
    picture = (shop / "images" / "7.png").read_bytes()
    assert tokens(client.post("/search?k=1", content=picture, headers={"content-type": "image/png"})) == ["i7"]


def test_users_and_items_are_found_and_shown(client, clip):
    assert client.get("/users?query=u2&limit=3").json() == {"users": ["u2", "u20", "u21"]}
    assert len(client.get("/users").json()["users"]) == 20
    assert set(client.get("/users?random=true&limit=9").json()["users"]) <= set(clip.users)
    assert tokens(client.get("/items?query=silk&limit=2")) == clip.catalogue.search("silk", 2)
    user = client.get("/users/u3?limit=4").json()
    assert [item["item"] for item in user["history"]] == clip.history("u3")[-4:] and user["user"] == "u3"
    assert client.get("/items/i5").json() == {"item": "i5", "title": "leather boots for the mountain", "picture": True,
                                              "modalities": ["image", "text"]}  # fmt: skip
    picture = client.get("/items/i5/picture")
    assert picture.headers["content-type"] == "image/jpeg" and "max-age" in picture.headers["cache-control"]
    assert Image.open(io.BytesIO(picture.content)).format == "JPEG"


def test_an_item_is_added_updated_and_removed(client, clip):
    row = {"item_id": "new/1 ä", "title": "silk <b>dress</b>", "image": base64(png(colour=(30, 60, 200)))}
    assert client.post("/items", json={"rows": [row]}, headers=KEY).json() == {"added": ["new/1 ä"]}
    assert "new/1 ä" in tokens(client.get("/recommend/u3?k=1000"))
    assert client.get("/items/new/1 ä").json()["picture"] and client.get("/items/new%2F1%20%C3%A4/picture").status_code == 200
    assert tokens(client.get("/items?query=new/1")) == ["new/1 ä"] and client.get("/health").json()["added"] == 1
    assert len(tokens(client.get("/similar/new/1 ä?by=image&k=2"))) == 2
    client.post("/items", json={"rows": [{**row, "title": "boots", "image": None}]}, headers=KEY)
    assert client.get("/items/new/1 ä").json() == {"item": "new/1 ä", "title": "boots", "picture": False, "modalities": ["image", "text"]}
    assert client.delete("/items/new/1 ä", headers=KEY).json() == {"removed": "new/1 ä"}
    assert "new/1 ä" not in tokens(client.get("/recommend/u3?k=1000")) and client.get("/items/new/1 ä").status_code == 404
    assert client.delete("/items/new/1 ä", headers=KEY).status_code == 404 and client.get("/health").json()["added"] == 0


def test_a_batch_is_added_as_a_whole_or_not_at_all(client, clip):
    rows = [{"item_id": "good", "title": "boots"}, {"item_id": "bad", "title": "boots", "image": base64(b"no picture")}]
    assert client.post("/items", json={"rows": rows}, headers=KEY).status_code == 422
    assert client.get("/items/good").status_code == 404 and "good" not in clip.items


def test_health_and_metrics(client):
    client.get("/recommend/u3")
    client.get("/recommend/nobody")
    client.get("/users/u3")
    client.get("/no/such/place")
    client.request("MADEUP", "/recommend/u3")
    health = client.get("/health").json()
    assert (health["status"], health["model"], health["users"], health["items"]) == ("ok", "CLIPRec", 24, 48) and health["writing"]
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    for line in ('recbole_mm_requests_total{method="GET",route="/recommend/{user}",status="200"} 1.0',
                 'recbole_mm_requests_total{method="GET",route="/recommend/{user}",status="404"} 1.0',
                 'recbole_mm_request_seconds_count{route="/users/{user}"} 1.0',
                 'recbole_mm_requests_total{method="GET",route="none",status="404"} 1.0'):  # fmt: skip
        assert line in metrics.text and "MADEUP" not in metrics.text


def test_every_answer_has_safe_headers(client):
    for path in ("/health", "/nowhere", "/recommend/u3?k=0", "/openapi.json"):
        answer = client.get(path, headers={"origin": "https://elsewhere.example"})
        assert "default-src 'none'" in answer.headers["content-security-policy"] and answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


BOMB = png(20_000, 8000, 0, "1")
REFUSED = {
    "path": (404, "Not Found", lambda c: c.get("/page/..%2f..%2fapp.py")),
    "user": (404, "unknown user 'nobody'", lambda c: c.get("/recommend/nobody")),
    "padding": (404, "unknown user", lambda c: c.get("/recommend/[PAD]")),
    "shown user": (404, "unknown user", lambda c: c.get("/users/nobody")),
    "history item": (404, "unknown item 'x'", lambda c: c.post("/recommend", json={"history": ["i4", "x"]})),
    "candidate": (404, "unknown item 'x'", lambda c: c.post("/recommend", json={"history": ["i4"], "candidates": ["x"]})),
    "similar to unknown": (404, "unknown item 'x'", lambda c: c.get("/similar/x")),
    "item": (404, "unknown item 'x'", lambda c: c.get("/items/x")),
    "picture of unknown": (404, "no picture of 'x'", lambda c: c.get("/items/x/picture")),
    "removed": (404, "unknown item 'x'", lambda c: c.delete("/items/x", headers=KEY)),
    "method": (405, "Method Not Allowed", lambda c: c.put("/recommend/u3")),
    "k 0": (422, "k: Input should be greater", lambda c: c.get("/recommend/u3?k=0")),
    "k huge": (422, "k: Input should be less", lambda c: c.get(f"/recommend/u3?k={bounds.MAX_K + 1}")),
    "k word": (422, "k: Input should be a valid integer", lambda c: c.get("/recommend/u3?k=ten")),
    "k digits": (422, "k: ", lambda c: c.get("/recommend/u3?k=" + "9" * 5000)),
    "empty history": (422, "history: List should have at least 1", lambda c: c.post("/recommend", json={"history": []})),
    "no history": (422, "history: Field required", lambda c: c.post("/recommend", json={})),
    "history of numbers": (422, "history.0: Input should be a valid string", lambda c: c.post("/recommend", json={"history": [1]})),
    "long history": (422, "history: List", lambda c: c.post("/recommend", json={"history": ["i4"] * (bounds.MAX_HISTORY + 1)})),
    "times": (422, "1 times of 2 items of the history", lambda c: c.post("/recommend", json={"history": ["i4", "i8"], "times": [1]})),
    "large times": (422, "a finite number", lambda c: c.post("/recommend", json={"history": ["i4"], "times": [1e300]})),
    "more keys": (422, "Extra inputs", lambda c: c.post("/recommend", json={"history": ["i4"], "pickle": 1})),
    "surrogates": (422, "history.0", lambda c: c.post("/recommend", content=b'{"history": ["\\ud800"]}', headers=JSON)),
    "no json": (422, "JSON decode error", lambda c: c.post("/recommend", content=b"{", headers=JSON)),
    "no utf-8": (422, "parsing the body", lambda c: c.post("/recommend", content=b'"\xff"', headers=JSON)),
    "deep json": (422, "parsing the body", lambda c: c.post("/recommend", content=b"[" * 100_000, headers=JSON)),
    "modality": (422, "no features 'colour': by may be model, image, text", lambda c: c.get("/similar/i5?by=colour")),
    "no text": (422, "text: Field required", lambda c: c.get("/search")),
    "blank text": (422, "text: String should match", lambda c: c.get("/search?text=%20")),
    "long query": (422, "text: String should have at most", lambda c: c.get("/search?text=" + "a" * (bounds.MAX_TEXT + 1))),
    "no picture": (422, "picture is none in a known format", lambda c: search_by(c, b"no picture")),
    "empty picture": (422, "picture is none in a known format", lambda c: search_by(c, b"")),
    "torn picture": (422, "picture cannot be read", lambda c: search_by(c, png()[:-40])),
    "bomb": (422, "20000 x 8000 pixels", lambda c: search_by(c, BOMB)),
    "postscript": (422, "picture is none in a known format", lambda c: search_by(c, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
    "no type": (415, "content type of image", lambda c: search_by(c, png(), "text/plain")),
    "long picture": (413, "longer than", lambda c: search_by(c, b"x" * (bounds.MAX_PICTURE + 1))),
    "long stream": (413, "longer than", lambda c: search_by(c, (b"x" * 2**20 for _ in range(12)))),
    "long body": (413, "longer than", lambda c: c.post("/recommend", content=b"x" * (bounds.MAX_BODY + 1), headers=JSON)),
    "no key": (401, "X-API-Key is missing", lambda c: c.post("/items", json={"rows": []})),
    "wrong key": (401, "wrong key", lambda c: c.delete("/items/i5", headers={"X-API-Key": "a key"})),
    "odd key": (401, "wrong key", lambda c: c.delete("/items/i5", headers={"X-API-Key": b"\xff\xfe"})),
    "no rows": (422, "rows: List should have at least 1", lambda c: add(c)),
    "many rows": (422, "rows: List should have at most", lambda c: add(c, *[{"item_id": "n", "title": "boots"}] * (bounds.MAX_ROWS + 1))),
    "no token": (422, "needs a token, in the column 'item_id'", lambda c: add(c, {"title": "boots"})),
    "long token": (422, "at most 200", lambda c: add(c, {"item_id": "n" * 201, "title": "boots"})),
    "control token": (422, "must be printable", lambda c: add(c, {"item_id": "n\tm", "title": "boots"})),
    "odd token": (422, "must be text", lambda c: add(c, {"item_id": {"a": 1}, "title": "boots"})),
    "no content": (422, "item 'n' has none of image, text", lambda c: add(c, {"item_id": "n"})),
    "path as picture": (422, "paths are not taken", lambda c: add(c, {"item_id": "n", "image": "/etc/passwd"})),
    "path without dots": (422, "picture", lambda c: add(c, {"item_id": "n", "image": "abcd"})),
    "number as picture": (422, "must be in base64", lambda c: add(c, {"item_id": "n", "image": 5})),
    "list as picture": (422, "must be in base64", lambda c: add(c, {"item_id": "n", "image": ["abcd"]})),
    "bomb as picture": (422, "item 'n': the picture has 20000 x 8000 pixels", lambda c: add(c, {"item_id": "n", "image": base64(BOMB)})),
    "truth": (422, "'title' must be text", lambda c: add(c, {"item_id": "n", "title": True})),
    "long text": (422, "at most 20000 characters", lambda c: add(c, {"item_id": "n", "title": "a" * 20_001})),
    "half a character": (422, "surrogate pair", lambda c: c.post("/items", content=HALF, headers={**KEY, **JSON})),
    "odd text": (422, "'title' must be text", lambda c: add(c, {"item_id": "n", "title": {"a": 1}})),
}  # fmt: skip
HALF = b'{"rows": [{"item_id": "n", "title": "\\ud800"}]}'
JSON = {"content-type": "application/json"}


def search_by(client, body, kind: str = "image/png"):
    return client.post("/search", content=body, headers={"content-type": kind})


def add(client, *rows):
    return client.post("/items", json={"rows": list(rows)}, headers=KEY)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why_on_one_line(client, case):
    status, told, call = REFUSED[case]
    answer = call(client)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"] and told in answer.json()["detail"] and "\n" not in answer.json()["detail"]
    assert client.get("/health").json()["items"] == 48


def test_without_a_key_nobody_writes(plain):
    for call in (plain.post("/items", json={"rows": []}, headers=KEY), plain.delete("/items/i5", headers=KEY)):
        assert call.status_code == 403 and "writing is off" in call.json()["detail"]
    assert not plain.get("/health").json()["writing"]


def test_the_body_of_who_may_not_write_is_not_read(client):
    def body():
        yield b"{"
        raise AssertionError("it was read")

    assert client.post("/items", content=body(), headers={"X-API-Key": "wrong"}).status_code == 401


def test_without_an_encoder_a_search_is_refused(plain):
    for answer in (plain.get("/search?text=boots"), search_by(plain, png())):
        assert answer.status_code == 422 and "no encoder" in answer.json()["detail"]


def test_vectors_of_new_items(vbpr):
    client = testclient.TestClient(app_module.create_app(vbpr, KEY["X-API-Key"]))
    vector = vbpr.parts.items.features("a")[0][vbpr.parts.items.served.rows(["i6"])[0]].tolist()
    assert add(client, {"item_id": "n", "a": vector, "title": "boots"}).status_code == 200
    assert tokens(client.get("/similar/n?by=a&k=1")) == ["i6"]
    for bad in ([1.0], "i6", [["x"]], [None] * 8, [1e400] * 8, {"a": 1}, np.ones((2, 4)).tolist()):
        answer = client.post("/items", json={"rows": [{"item_id": "m", "a": bad}]}, headers=KEY) if bad != [1e400] * 8 else client.post(
            "/items", content=b'{"rows": [{"item_id": "m", "a": [1e400, 1, 1, 1, 1, 1, 1, 1]}]}', headers={**KEY, **JSON})  # fmt: skip
        assert (
            answer.status_code == 422 and ("a must be 8 finite numbers" if isinstance(bad, list) else "'a' must be a list") in answer.text
        ), bad
