"""What the command ``serve`` refuses, in one line, before it loads anything."""

import socket

import pytest

from recbole_mm.cli import main

pytest.importorskip("uvicorn")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port=99999"], "--port=99999 must be between 0"),
        (["--workers=0"], "--workers=0 must be above 0"),
        (["--api-key-file=nowhere.txt"], "nowhere.txt"),
        ([], "is no exported folder"),
    ],
)
def test_what_cannot_be_served(tmp_path, capsys, options, told):
    assert main(["serve", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_port_that_is_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recbole_mm.serving.service.serve.read_manifest", lambda folder: {"model": "BPR"})
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert main(["serve", str(tmp_path), f"--port={other.getsockname()[1]}"]) == 2
    assert "cannot serve at http://127.0.0.1" in capsys.readouterr().err
