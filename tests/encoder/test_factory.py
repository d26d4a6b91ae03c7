import pytest

from recbole_mm.encoder import create_encoder, factory, list_backends
from recbole_mm.encoder.factory import parse_name, register_backend
from recbole_mm.errors import InputError


@pytest.fixture()
def echo(monkeypatch):
    monkeypatch.setattr(factory, "_backends", dict(factory._backends))

    @register_backend("echo")
    def build(name, source, *, seed=0, loud=False):
        return name, source, seed, loud


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open_clip:ViT-B-32@openai", ("ViT-B-32", "openai")),
        ("open_clip:tiny", ("tiny", None)),
        ("open_clip:ViT-B/32@/data/me@work/a:b@c.pt", ("ViT-B/32", "/data/me@work/a:b@c.pt")),
        ("open_clip:local-dir:/data/me@work", ("local-dir:/data/me@work", None)),
        ("open_clip:local-dir:./a b", ("local-dir:./a b", None)),
        ("open_clip:hf-hub:org/repo", ("hf-hub:org/repo", None)),
        ("open_clip:/folder@x", ("/folder@x", None)),
        ("open_clip:~/folder@x", ("~/folder@x", None)),
        ("  open_clip:tiny ", ("tiny", None)),
    ],
)
def test_grammar(text, expected):
    assert parse_name(text) == ("open_clip", *expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("open_clip", r"not of the form backend:name\[@tag-or-path\].*the backends: .*open_clip"),
        ("", "not of the form"),
        (None, "not of the form"),
        ("open_clip:", "not of the form"),
        (":tiny", "not of the form"),
        ("open_clip:ViT-B-32@", "nothing after the '@'"),
        ("open_clip:@openai", "nothing before the '@'"),
        ("openclip:tiny", r"unknown backend 'openclip' \(did you mean 'open_clip'\?\); the backends: .*open_clip"),
    ],
)
def test_malformed_names(text, message):
    with pytest.raises(InputError, match=message) as caught:
        create_encoder(text)
    assert "\n" not in str(caught.value)


def test_backends_are_registered_once(echo):
    assert list_backends() == sorted(list_backends()) and {"echo", "open_clip"} <= set(list_backends())
    with pytest.raises(ValueError, match="registered already"):
        register_backend("echo")(lambda name, source: None)
    with pytest.raises(ValueError, match="identifier"):
        register_backend("a:b")


def test_options_and_seed_reach_the_backend(echo):
    assert create_encoder("echo:x@y", seed=3, loud=True) == ("x", "y", 3, True)
    with pytest.raises(InputError, match=r"no encoder option 'lout' \(did you mean 'loud'\?\); its options: loud"):
        create_encoder("echo:x", lout=True)


def test_importing_encoders_imports_neither_open_clip_nor_recbole(in_new_process):
    code = "import sys, recbole_mm.encoder; print(sorted({'open_clip', 'transformers', 'recbole', 'timm'} & set(sys.modules)))"
    assert in_new_process(code).strip() == "[]"
