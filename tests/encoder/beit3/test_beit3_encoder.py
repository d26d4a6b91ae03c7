"""``beit3:...``: the tiny encoder, its tokenizer, and what is said when files are not there."""

import copy
import pickle

import pytest
import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from recbole_mm.encoder import create_encoder
from recbole_mm.encoder.beit3 import config as sizes
from recbole_mm.encoder.beit3.source import TINY_SPM
from recbole_mm.errors import InputError

TEXTS = ["a red wool scarf", "", "very long " * 200, "北京 ☕ شراء 𝔘𝔫𝔦 &amp; <br>"]


@pytest.fixture(scope="module")
def encoder():
    """Read-only."""
    return create_encoder("beit3:tiny")


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch, tmp_path):
    def refuse(url, *_, **__):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.fixture()
def small_base(monkeypatch, encoder):
    """ "base" is as small as tiny, for the length of a test."""
    monkeypatch.setitem(sizes.SIZES, "base", sizes.SIZES["tiny"])


def refuses(name, *words, **options):
    with pytest.raises(InputError) as caught:
        create_encoder(name, **options)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def save(encoder, path, drop=()):
    save_file({key: value for key, value in encoder.model.state_dict().items() if not key.startswith(tuple(drop) or "?")}, path)
    return path


def inputs_of(encoder, n=3):
    pixels = torch.randint(0, 256, (n, 3, *encoder.image_size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ids = encoder.tokenize(TEXTS[:n])
    return {"image": pixels, "text": ids, "joint": (pixels, ids)}


def test_token_ids(encoder):
    pieces = SentencePieceProcessor(model_file=str(TINY_SPM))
    ids = encoder.tokenize(TEXTS)
    assert ids.shape == (4, 32) and ids.dtype == torch.int64
    own = [piece + 1 for piece in pieces.encode(TEXTS[0])]
    assert ids[0].tolist() == [0, *own, 2] + [1] * (30 - len(own))
    assert ids[1].tolist() == [0, 2] + [1] * 30
    assert ids[2].tolist() == [0, *(piece + 1 for piece in pieces.encode(TEXTS[2])[:30]), 2]
    assert encoder.tokenize(TEXTS[:2]).shape[1] == len(own) + 2 and encoder.tokenize([]).shape == (0, 1)
    assert 3 not in ids and int(ids.max()) < encoder.model.config.vocab_size == len(pieces) + 1


def test_an_unknown_piece_is_three(encoder, tmp_path):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(TINY_SPM.read_bytes())
    kept = [piece for piece in model.pieces if piece.type != piece.BYTE]
    del model.pieces[:]
    model.pieces.extend(kept)
    model.trainer_spec.byte_fallback = False
    path = tmp_path / "plain.spm"
    path.write_bytes(model.SerializeToString())
    assert create_encoder("beit3:tiny", tokenizer=str(path)).tokenize(["☕"])[0, -2:].tolist() == [3, 2]


def test_the_shipped_tokenizer_says_nothing_of_where_it_was_made():
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(TINY_SPM.read_bytes())
    assert not model.trainer_spec.input and not model.trainer_spec.model_prefix
    assert TINY_SPM.stat().st_size < 100_000 and b"/" + b"work" not in TINY_SPM.read_bytes()


def test_rows_of_every_modality(encoder):
    inputs = inputs_of(encoder)
    with torch.no_grad():
        rows, again = encoder(inputs), encoder(inputs)
        alone = encoder({m: (v[0][:1], v[1][:1]) if m == "joint" else v[:1] for m, v in inputs.items()})
    for m in encoder.modalities:
        assert rows[m].shape == (3, 128) and torch.equal(rows[m], again[m])
        torch.testing.assert_close(alone[m], rows[m][:1], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(rows["image"].norm(dim=1), torch.ones(3))
    assert encoder({"text": encoder.tokenize([])})["text"].shape == (0, 128)


def test_a_long_text_equals_its_cut(encoder):
    cut = encoder.tokenizer.pieces.decode(encoder.tokenizer.pieces.encode(TEXTS[2])[:30])
    with torch.no_grad():
        long, short = (encoder({"text": encoder.tokenize([text])})["text"] for text in (TEXTS[2], cut))
    assert torch.equal(long, short)


def test_every_parameter_that_trains_is_read(encoder):
    encoder = copy.deepcopy(encoder).train()
    rows = encoder(inputs_of(encoder))
    (encoder.contrastive_loss(rows) + sum(r.pow(2).sum() for r in rows.values())).backward()
    idle = [name for name, p in encoder.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    frozen = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert not idle and frozen == ["model.beit3.vision_embed.mask_token"]


def test_parts_by_name(encoder):
    names = dict(encoder.named_modules())
    assert encoder.adapter_sites()[:2] == ["model.beit3.encoder.layers.0.ffn.A", "model.beit3.encoder.layers.0.ffn.B"]
    assert len(encoder.adapter_sites()) == 8 and all(site in names for site in encoder.adapter_sites())
    parameters = dict(encoder.named_parameters())
    assert set(encoder.head()) == {
        *(f"model.beit3.encoder.layer_norm.{m}.{p}" for m in "AB" for p in ("weight", "bias")),
        "model.vision_head.weight",
        "model.language_head.weight",
    } and set(encoder.head()) <= set(parameters)
    assert len(encoder.linear_layers()) == 4 * (4 * 2 + 2 * 2)


def test_a_trained_tiny_comes_back(encoder, tmp_path):
    other = create_encoder("beit3:tiny", seed=9)
    path = save(other, tmp_path / "mine.safetensors")
    torch.save({"model": other.model.state_dict()}, tmp_path / "mine.pth")
    back = create_encoder(f"beit3:tiny@{path}")
    assert back.fingerprint() == other.fingerprint() != encoder.fingerprint() and other.from_scratch and not back.from_scratch
    assert create_encoder(f"beit3:tiny@{tmp_path / 'mine.pth'}").fingerprint() == other.fingerprint()
    large = create_encoder(f"beit3:tiny@{path}", image_size=96, gradient_checkpointing=True)
    assert large.image_size == (96, 96) and large.model.gradient_checkpointing
    large_path = save(large, tmp_path / "large.safetensors")
    assert create_encoder(f"beit3:tiny@{large_path}").image_size == (96, 96)
    assert len({other.fingerprint(), large.fingerprint()}) == 2


def test_plain_pretrained_weights_are_not_aligned(encoder, tmp_path):
    path = save(encoder, tmp_path / "plain.safetensors", ["vision_head", "language_head", "logit_scale"])
    plain = create_encoder(f"beit3:tiny@{path}")
    rows = plain(inputs_of(plain))
    assert not plain.aligned and not plain.model.logit_scale.requires_grad and rows["image"].shape == (3, 128)
    with pytest.raises(InputError, match="different spaces"):
        plain.contrastive_loss(rows)


@pytest.mark.usefixtures("small_base")
def test_files_by_tag_and_by_hand(encoder, tmp_path):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    refuses("beit3:base@itc_224", "beit3_base_itc_patch16_224.pth is not here", "https://github.com/addf400/files/releases", str(folder))
    torch.save(encoder.model.state_dict(), folder / "beit3_base_itc_patch16_224.pth")
    refuses("beit3:base@itc_224", "beit3.spm is not here", "https://github.com/addf400/files/releases/download/beit3/beit3.spm",
            f"beside the weights as {folder / 'beit3.spm'}", "'tokenizer'")  # fmt: skip
    found = create_encoder("beit3:base@itc_224", tokenizer=str(TINY_SPM))
    (folder / "beit3.spm").write_bytes(TINY_SPM.read_bytes())
    assert create_encoder("beit3:base@itc_224").fingerprint() == found.fingerprint()
    path = save(encoder, tmp_path / "w.safetensors")
    assert create_encoder(f"beit3:base@{path}").fingerprint() == found.fingerprint()


def test_what_cannot_be_had(encoder, tmp_path):
    refuses("beit3:base", "random ones are never used silently", "itc_224, indomain_224", "beit3:base@/path/to/file")
    refuses("beit3:lage@itc_224", "no size 'lage'", "'large'")
    refuses("beit3:base@itc-224", "no tag and no file 'itc-224'", "'itc_224'")
    refuses("beit3:tiny@itc_224", "no tag and no file 'itc_224': beit3:tiny@/path/to/file")
    refuses(f"beit3:base@{tmp_path / 'no.pth'}", "no such weights file", "no.pth")
    refuses("beit3:tiny", "image_size 70 is not a multiple of the patch size 16", image_size=70)
    refuses("beit3:tiny", "no such tokenizer file", tokenizer=str(tmp_path / "no.spm"))
    for content in (b"not a model", b""):
        (tmp_path / "bad.spm").write_bytes(content)
        refuses("beit3:tiny", "bad.spm is not a readable sentencepiece model", tokenizer=str(tmp_path / "bad.spm"))
    refuses(f"beit3:large@{save(encoder, tmp_path / 'tiny.safetensors')}", "tiny.safetensors does not fit", "missing", "another shape")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_cannot_be_read(encoder, tmp_path):
    whole = save(encoder, tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    torch.save(encoder.model.state_dict(), tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    torch.save({"model": Evil(str(tmp_path / "ran"))}, tmp_path / "evil.pth")
    (tmp_path / "evil2.pth").write_bytes(pickle.dumps(Evil(str(tmp_path / "ran"))))
    for file in ("cut.safetensors", "cut.pth", "evil.pth", "evil2.pth"):
        refuses(f"beit3:tiny@{tmp_path / file}", file, "not a readable weights file")
    assert not (tmp_path / "ran").exists()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_tokenizer_of_another_model(encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sizes.SIZES, "tiny", sizes.BEiT3Config.named("tiny", vocab_size=4000))
    refuses("beit3:tiny", "tiny.spm has 4000 pieces and belongs to another model", "embeds 3999")
