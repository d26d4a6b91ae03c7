"""``recbole-mm prepare`` and bad input: one line that names the file and the line, status 2, and nothing written."""

import json

import pytest

from recbole_mm.cli import main

HEADER = "user_id,item_id,timestamp,rating\n"
GOOD = "".join(f"u{u},i{i},{u + i},5\n" for u in range(20) for i in range(10))


@pytest.fixture
def attempt(tmp_path, capsys):
    def run(files: dict[str, str | bytes], *arguments: str, status: int = 2) -> str:
        folder = tmp_path / "input"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        assert main(["prepare", f"--input={folder}", f"--output={tmp_path / 'out' / 'shop'}", *arguments]) == status
        shown = capsys.readouterr()
        if status == 2:
            lines = shown.err.strip().splitlines()
            assert len(lines) == 1 and lines[0].startswith("error: "), lines
            assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
        return shown.err if status else shown.out

    return run


@pytest.mark.parametrize(
    ("files", "arguments", "facts"),
    [
        ({}, [], ["no interactions.*", "--interactions"]),
        ({"interactions.csv": HEADER + GOOD}, ["--interactions=none.csv"], ["none.csv", "no such file"]),
        ({"interactions.csv": HEADER + GOOD, "interactions.tsv": "x"}, [], ["interactions.csv", "interactions.tsv", "--interactions"]),
        ({"interactions.csv": ""}, [], ["interactions.csv", "empty"]),
        ({"interactions.csv": HEADER}, [], ["interactions.csv", "no rows"]),
        ({"interactions.xlsx": "x"}, [], ["interactions.xlsx", ".csv"]),
        ({"interactions.csv": "user,product,sku\nu,p,s\n"}, [], ["product, sku", "--item-column"]),
        ({"interactions.csv": "who,what\nu,p\n"}, [], ["who, what", "--user-column"]),
        ({"interactions.csv": HEADER + GOOD}, ["--user-column=usr"], ["usr", "'user_id'"]),
        ({"interactions.csv": "a,a,b\n1,2,3\n"}, [], ["line 1", "twice"]),
        ({"interactions.csv": HEADER + GOOD + 9 * "u,i,yesterday,5\n"}, [], ["9 of 209", "row 201", "yesterday", "--max-bad-rows"]),
        ({"interactions.csv": HEADER + GOOD + 9 * "u,i,5\n"}, [], ["9 of 209", "line 202", "--max-bad-rows"]),
        ({"interactions.csv": HEADER + GOOD + 9 * "u,i,5,good\n"}, [], ["good", "rating"]),
        ({"interactions.csv": HEADER + GOOD + 'u,"i,5,5\n' + GOOD}, [], ["line 202", "quote", "--quote="]),
        ({"interactions.csv": HEADER + GOOD + 'u,"i,5,5\n' + GOOD + 'u,i",5,5,5\n' + GOOD}, [], ["line 202", "quote", "--quote="]),
        ({"interactions.csv": (HEADER + GOOD + "é,i,5,5\n").encode("latin-1")}, [], ["interactions.csv", "UTF-8", "--encoding"]),
        ({"interactions.csv": HEADER + GOOD}, ["--encoding=foo-8"], ["foo-8"]),
        ({"interactions.csv": (HEADER + "é,i,5,5\n").encode("latin-1")}, ["--encoding=ascii"], ["ascii", "--encoding"]),
        ({"interactions.jsonl": '{"user": 1, "item": 2}\n{"user": 1,\n'}, [], ["1 of 2", "line 2", "JSON"]),
        ({"interactions.jsonl": "[1, 2]\n"}, [], ["interactions.jsonl", "one object per line"]),
        ({"interactions.parquet": "PAR1"}, [], ["interactions.parquet"]),
        ({"interactions.csv.gz": b"\x1f\x8b\x08"}, [], ["interactions.csv.gz"]),
        ({"interactions.csv": HEADER + GOOD}, ["--k-core=50"], ["nothing is left", "--k-core"]),
        ({"interactions.csv": HEADER + GOOD}, ["--min-rating=6"], ["nothing is left", "6"]),
        ({"interactions.csv": "user,item\nu,i\n"}, ["--min-rating=3"], ["user, item", "--rating-column"]),
        ({"interactions.csv": HEADER + GOOD}, ["--kcore=5"], ["--kcore", "'--k-core'"]),
        ({"interactions.csv": HEADER + GOOD}, ["--source=amazon"], ["amazon-2023"]),
        ({"interactions.csv": HEADER + GOOD}, ["--max-bad-rows=5"], ["--max-bad-rows"]),
        ({"interactions.csv": HEADER + GOOD}, ["--images=nowhere"], ["nowhere"]),
        ({"interactions.csv": HEADER + GOOD}, ["--memory=lots"], ["lots"]),
        ({"interactions.csv": HEADER + GOOD, "items.csv": "item_id,title\ni1,x\n"}, ["--text-columns=titel"], ["titel", "'title'"]),
        ({"interactions.csv": HEADER + GOOD, "items.csv": "item_id,image\ni1,../x.png\n"}, [], ["i1", "../x.png", "--images"]),
        ({"interactions.csv": HEADER + GOOD, "items.csv": "item_id,image\ni1,/etc/passwd\n"}, [], ["i1", "/etc/passwd", "--images"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_bad_input_is_one_line(attempt, files, arguments, facts):
    error = attempt(files, *arguments)
    for fact in facts:
        assert fact in error, error


@pytest.mark.parametrize("column", ["item_id,image\ni1,x.png\n", "item_id,title\ni1,x\n"])
def test_a_picture_that_is_a_link_out_of_its_folder(attempt, tmp_path, column):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "input" / "images").mkdir(parents=True)
    for name in ("x.png", "i1.png"):
        (tmp_path / "input" / "images" / name).symlink_to("../../secret")
    error = attempt({"interactions.csv": HEADER + GOOD, "items.csv": column})
    assert "item i1" in error and ".png" in error and "link out of" in error, error


def test_a_few_bad_rows_are_counted_and_the_first_is_named(attempt, tmp_path):
    rows = HEADER + GOOD + "u,i,5\n" + ",i1,5,5\nNA,i1,5,5\n"
    shown = attempt({"interactions.csv": rows}, "--max-bad-rows=0.02", status=0)
    assert "line 202" in shown
    report = json.loads((tmp_path / "out/shop/prepare.json").read_text())
    assert report["dropped"]["unreadable"] == 1 and report["dropped"]["without user or item"] == 2
    assert report["interactions"] == 200 and report["rows"] == 203


def test_quotes_may_have_no_meaning(attempt):
    attempt({"interactions.csv": HEADER + GOOD + 'u,"i,5,5\n'}, "--quote=", status=0)


def test_names_that_recbole_gives_another_meaning(tmp_path, capsys):
    assert main(["prepare", f"--interactions={tmp_path}/x", f"--output={tmp_path}/ml-100k"]) == 2
    (tmp_path / "interactions.csv").write_text(HEADER + GOOD)
    assert main(["prepare", f"--input={tmp_path}", f"--output={tmp_path}/ml-100k"]) == 2
    assert "ml-100k" in capsys.readouterr().err
    assert main(["prepare", f"--input={tmp_path}", f"--output={tmp_path}", "--overwrite"]) == 2
    assert "holds files that are to be read" in capsys.readouterr().err


def test_help_is_readable(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "--help"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0
    for word in ("--k-core", "--min-rating", "amazon-2023", "movielens", "--images", "example:"):
        assert word in shown
