"""``vlmo:`` names: where weights and vocabularies come from, and what is said when they do not."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.vlmo import VLMo, VLMoConfig, config
from recbole_mm.encoder.vlmo.tokenizer import TINY_VOCABULARY, WordPieceTokenizer, read_vocabulary
from recbole_mm.errors import InputError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), "red", "shirt", "&", ";"]


@pytest.fixture(autouse=True)
def small_base(monkeypatch):
    """ "base" of the released kind, but small."""
    sizes = {"embed_dim": 24, "depth": 2, "num_heads": 2, "image_size": 32, "vocab_size": len(WORDS), "vl_start_layer": 1}
    monkeypatch.setitem(config.NAMED, "base", sizes)
    monkeypatch.setitem(config.NAMED, "large", {**sizes, "embed_dim": 32})


@pytest.fixture()
def files(tmp_path):
    """A folder with weights at 32 and 48 px and a vocabulary."""
    for size in (32, 48):
        torch.manual_seed(size)
        state = VLMo(VLMoConfig.named("base", image_size=size)).state_dict()
        save_file(state, tmp_path / f"w{size}.safetensors")
        torch.save({"state_dict": state}, tmp_path / f"w{size}.pt")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def refuses(name, *words, **options):
    with pytest.raises(InputError) as caught:
        create_encoder(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def rows(encoder):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, *encoder.image_size), generator=generator, dtype=torch.uint8)
    tokens = encoder.tokenize(["red shirt", "", "a"])
    with torch.no_grad():
        return encoder({"image": pixels, "text": tokens, "joint": (pixels, tokens)})


def test_a_file_brings_its_resolution(files):
    encoder = create_encoder(f"vlmo:base@{files / 'w48.safetensors'}")
    assert encoder.image_size == (48, 48) and not encoder.from_scratch and not encoder.training
    same = create_encoder(f"vlmo:base@{files / 'w48.pt'}")
    assert all(torch.equal(value, rows(same)[key]) for key, value in rows(encoder).items())
    assert encoder.geometry() == {"transform": "squash", "size": 48, "interpolation": "bicubic"}
    other = create_encoder(f"vlmo:base@{files / 'w48.pt'}", image_size=32)
    assert other.image_size == (32, 32) and torch.isfinite(rows(other)["joint"]).all()
    refuses(f"vlmo:base@{files / 'w48.pt'}", "multiple of its patch_size 16, not 40", image_size=40)


def test_rows_are_the_models_before_normalisation(files):
    encoder = create_encoder(f"vlmo:base@{files / 'w32.pt'}")
    model, found = VLMo(VLMoConfig.named("base")).eval(), rows(encoder)
    model.load_released_state_dict(torch.load(files / "w32.pt", weights_only=True))
    tokens = encoder.tokenize(["red shirt", "", "a"])
    expected = model.encode_text(tokens, (tokens != 0).long()).cls_feats
    torch.testing.assert_close(torch.nn.functional.normalize(found["text"], dim=-1), expected)


def test_every_trainable_parameter_gets_a_gradient(files):
    encoder = create_encoder(f"vlmo:base@{files / 'w32.pt'}", gradient_checkpointing=True).train()
    pixels, tokens = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8), encoder.tokenize(["red", "shirt a", "b"])
    found = encoder({"image": pixels, "text": tokens, "joint": (pixels, tokens)})
    (encoder.contrastive_loss(found) + found["joint"].square().sum()).backward()
    idle = [name for name, p in encoder.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not idle
    assert len(encoder.adapter_sites()) == 5 and all(site.split(".")[-1].startswith("mlp_") for site in encoder.adapter_sites())
    assert set(encoder.head()) <= {name for name, _ in encoder.named_parameters()} and len(encoder.head()) == 6


def test_weights_that_do_not_fit(files):
    save_file({"visual.proj": torch.zeros(3)}, files / "clip.safetensors")
    refuses(f"vlmo:base@{files / 'clip.safetensors'}", "clip.safetensors", "missing", "1 unexpected: visual.proj")
    refuses(f"vlmo:large@{files / 'w32.pt'}", "w32.pt", "of another shape")
    (files / "cut.pt").write_bytes((files / "w32.pt").read_bytes()[:5000])
    (files / "cut.safetensors").write_bytes((files / "w32.safetensors").read_bytes()[:5000])
    (files / "evil.pt").write_bytes(pickle.dumps(print, protocol=2))
    for name in ("cut.pt", "cut.safetensors", "evil.pt"):
        refuses(f"vlmo:base@{files / name}", name, "is not a readable weights file")
    refuses(f"vlmo:base@{files / 'no.pt'}", "no such weights file")


def test_names(monkeypatch, tmp_path):
    refuses("vlmo:base", "random ones are never used silently", "384_coco")
    refuses("vlmo:bass@224", "did you mean 'base'?", "base_plus")
    refuses("vlmo:base@384_coca", "did you mean '384_coco'?", "224_stage2")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    refuses("vlmo:base@384_coco", "releases/download/vlmo/vlmo_base_patch16_384_coco.pt", str(tmp_path))


def test_a_released_tag(monkeypatch, files):
    monkeypatch.setenv("TORCH_HOME", str(files))
    folder = files / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (files / "w32.pt").rename(folder / "vlmo_base_patch16_224_stage2.pt")
    (files / "vocab.txt").rename(folder / "vocab.txt")
    assert create_encoder("vlmo:base@224_stage2").image_size == (32, 32)


def test_where_the_vocabulary_comes_from(files):
    (files / "vocab.txt").rename(files / "other.txt")
    name = f"vlmo:base@{files / 'w32.pt'}"
    refuses(name, "get vocab.txt from https://huggingface.co/google-bert/bert-base-uncased", str(files), "option tokenizer")
    tokens = create_encoder(name, tokenizer=str(files / "other.txt")).tokenize(["Réd shirt"])
    assert tokens.tolist() == [[2, WORDS.index("red"), WORDS.index("shirt"), 3]]
    refuses(name, "neither a vocabulary file nor a folder", tokenizer=str(files / "nowhere"))
    (files / "short.txt").write_text("\n".join(WORDS[:-1]))
    refuses(name, "short.txt holds 60 pieces", f"of {len(WORDS)} pieces", tokenizer=str(files / "short.txt"))
    (files / "plain.txt").write_text("\n".join(f"w{i}" for i in range(len(WORDS))))
    refuses(name, "plain.txt lacks [PAD], [UNK], [CLS], [SEP]", tokenizer=str(files / "plain.txt"))
    (files / "broken.json").write_text("{")
    refuses(name, "broken.json is no WordPiece vocabulary", tokenizer=str(files / "broken.json"))


def test_tokens():
    tokenizer = WordPieceTokenizer(read_vocabulary("x", TINY_VOCABULARY, 4000), 32)
    short, long = "a red scarf", "a red scarf " * 50
    ids = tokenizer([short, "", long])
    assert ids.shape == (3, 32) and ids[1].tolist() == [2, 3] + [0] * 30 and ids[2, -1] == 3
    assert torch.equal(tokenizer([long]), tokenizer(["a red scarf " * 200]))
    printable = "".join(chr(c) for c in range(32, 127))
    assert 1 not in tokenizer([printable])[0] and torch.equal(tokenizer(["CAFÉ"]), tokenizer(["cafe"]))
    assert 0 not in tokenizer(["the literal [PAD] token"])[0]


def test_tiny_is_seeded_saved_and_loaded(tmp_path):
    state = torch.get_rng_state()
    encoder = create_encoder("vlmo:tiny", seed=3)
    assert encoder.from_scratch and torch.equal(state, torch.get_rng_state())
    assert encoder.fingerprint() == create_encoder("vlmo:tiny", seed=3).fingerprint() != create_encoder("vlmo:tiny").fingerprint()
    save_file(encoder.model.state_dict(), tmp_path / "tiny.safetensors")
    again = create_encoder(f"vlmo:tiny@{tmp_path / 'tiny.safetensors'}")
    assert again.fingerprint() == encoder.fingerprint() and not again.from_scratch
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    refuses(f"vlmo:tiny@{tmp_path / 'x.safetensors'}", "x.safetensors", "1 unexpected: x")
