"""Where open_clip's weights come from, and what is said when they do not."""

import json
import logging
import pickle
import time

import pytest
import torch
from safetensors.torch import save_file

from recbole_mm.encoder import create_encoder, hub
from recbole_mm.errors import InputError

GEOMETRY = {"interpolation": "bilinear", "resize_mode": "longest", "fill_color": 9}
PREPROCESS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], **GEOMETRY}


def model_of(config):
    """A model from a seed no encoder uses, straight from open_clip."""
    from open_clip import CLIP, CustomTextCLIP

    config = dict(config)
    with torch.random.fork_rng():
        torch.manual_seed(77)
        return (CustomTextCLIP if config.pop("custom_text", False) else CLIP)(**config).eval()


def save(model, path):
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path


def write_folder(folder, config, model=None, **extra):
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESS, **extra}))
    if model is not None:
        save(model, folder / "open_clip_model.safetensors")
    return folder


def refuses(name, *words, **options):
    with pytest.raises(InputError) as caught:
        create_encoder(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


@pytest.mark.parametrize("changes", [{}, {"custom_text": True, "init_logit_bias": -10.0}])
def test_a_local_folder_gives_open_clips_own_rows(tmp_path, small_config, picture, changes):
    import open_clip

    config = {**small_config, **changes}
    folder = write_folder(tmp_path / "my@folder", config, model_of(config))
    encoder = create_encoder(f"open_clip:local-dir:{folder}")
    theirs, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    pictures, texts = [picture(90, 50), picture(40, 120)], ["a red shirt", "blue"]
    tokens = encoder.tokenize(texts)
    assert torch.equal(tokens, open_clip.get_tokenizer(f"local-dir:{folder}")(texts))
    assert encoder.image_size == (32, 48) and encoder.image_mean == (0.1, 0.2, 0.3) and encoder.geometry()["fill_color"] == 9
    with torch.no_grad():
        rows = encoder({"image": torch.stack([encoder.preprocess_image(p) for p in pictures]), "text": tokens})
        image, text = theirs.eval().encode_image(torch.stack([transform(p) for p in pictures])), theirs.encode_text(tokens)
        torch.testing.assert_close(rows["image"], image, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(rows["text"], text, rtol=1e-5, atol=1e-5)
        loss = open_clip.loss.SigLipLoss() if changes else open_clip.ClipLoss()
        normal = [torch.nn.functional.normalize(side, dim=-1) for side in (image, text)]
        expected = loss(*normal, theirs.logit_scale.exp(), *([theirs.logit_bias] if changes else []))
        torch.testing.assert_close(encoder.contrastive_loss(rows), expected, rtol=1e-4, atol=1e-5)


def test_what_a_local_folder_may_lack(tmp_path, small_config):
    refuses(f"open_clip:local-dir:{tmp_path / 'none'}", "no such folder")
    refuses(f"open_clip:local-dir:{tmp_path}", "holds no open_clip_config.json")
    refuses(f"open_clip:local-dir:{write_folder(tmp_path / 'bare', small_config)}", "holds no weights")
    (tmp_path / "open_clip_config.json").write_text("{")
    refuses(f"open_clip:local-dir:{tmp_path}", "model_cfg")
    several = write_folder(tmp_path / "several", small_config)
    for name in ("a.safetensors", "b.safetensors"):
        save(model_of(small_config), several / name)
    refuses(f"open_clip:local-dir:{several}", "a.safetensors, b.safetensors", "open_clip_model.safetensors")
    odd = write_folder(tmp_path / "odd", {**small_config, "text_cfg": {"colour": 1}}, model_of(small_config))
    refuses(f"open_clip:local-dir:{odd}", "cannot build its model_cfg", "colour")
    wrong = write_folder(tmp_path / "wrong", small_config, model_of(small_config), preprocess_cfg={"resize_mode": "stretch"})
    refuses(f"open_clip:local-dir:{wrong}", "resize_mode 'stretch'", "squash")


def test_a_weights_file_for_an_architecture(tmp_path, small_config, architecture, caplog, batch):
    architecture("recbole_mm-test")
    model = model_of(small_config)
    path = save(model, tmp_path / "w@1.safetensors")
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "w.pt")
    with caplog.at_level(logging.WARNING):
        encoder = create_encoder(f"open_clip:recbole_mm-test@{path}")
    assert "assuming CLIP's preprocessing" in caplog.text and encoder.image_mean[0] == pytest.approx(0.48145466)
    assert encoder.fingerprint() == create_encoder(f"open_clip:recbole_mm-test@{tmp_path / 'w.pt'}").fingerprint()
    inputs = batch(encoder)
    with torch.no_grad():
        torch.testing.assert_close(encoder({"text": inputs["text"]})["text"], model.encode_text(inputs["text"]), rtol=1e-5, atol=1e-5)


def test_a_file_that_does_not_fit(tmp_path, small_config, architecture, tiny):
    name = "open_clip:" + architecture("recbole_mm-test")
    good = model_of(small_config).state_dict()
    save(tiny.model, tmp_path / "tiny.safetensors")
    refuses(f"{name}@{tmp_path / 'tiny.safetensors'}", "does not fit", "visual.positional_embedding is (17, 128)")
    less = {key: value for key, value in good.items() if key != "ln_final.bias"}
    save_file({**less, "extra": torch.zeros(1)}, tmp_path / "less.safetensors")
    refuses(f"{name}@{tmp_path / 'less.safetensors'}", "1 missing: ln_final.bias", "1 unexpected: extra")
    save_file({**good, "visual.proj": torch.zeros(32, 7)}, tmp_path / "shape.safetensors")
    refuses(f"{name}@{tmp_path / 'shape.safetensors'}", "of another shape: visual.proj (32, 7) instead of (32, 24)")
    save_file({**good, "positional_embedding": torch.zeros(8, 32)}, tmp_path / "text.safetensors")
    refuses(f"{name}@{tmp_path / 'text.safetensors'}", "positional_embedding is (8, 32)", "text length")


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_file_that_cannot_be_read(tmp_path, architecture):
    name = "open_clip:" + architecture("recbole_mm-test")
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "text.pt").write_text("not weights")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil(str(tmp_path / "ran"))))
    torch.save({"state_dict": {"a": Evil(str(tmp_path / "ran"))}}, tmp_path / "evil.bin")
    torch.save({}, tmp_path / "empty.pt")
    for file in ("text.safetensors", "text.pt", "evil.pt", "evil.bin", "empty.pt"):
        refuses(f"{name}@{tmp_path / file}", file, "is not a readable weights file")
    refuses(f"{name}@{tmp_path / 'evil.pt'}", "code, which is never run")
    refuses(f"{name}@{tmp_path / 'evil.bin'}", f"a pickle with code in it ({open.__module__}.open), which is never run")
    assert not (tmp_path / "ran").exists()
    torch.jit.trace(torch.nn.Identity(), torch.zeros(1)).save(str(tmp_path / "script.pt"))
    refuses(f"{name}@{tmp_path / 'script.pt'}", "TorchScript program", "safetensors")
    refuses(f"{name}@{tmp_path / 'no.pt'}", "no such weights file")
    refuses(f"{name}@no.safetensors", "no such weights file")
    refuses(f"{name}@{tmp_path}", "is a folder", f"open_clip:local-dir:{tmp_path}")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_tags_preprocessing_is_honoured_and_shared_with_a_file(tmp_path, small_config, architecture, monkeypatch, caplog):
    import open_clip

    path = save(model_of(small_config), tmp_path / "w.safetensors")
    name = "open_clip:" + architecture("recbole_mm-test", {"one_b2": {"hf_hub": "org/one/", **PREPROCESS}})
    monkeypatch.setattr(open_clip, "download_pretrained", lambda cfg: str(path))
    tagged = create_encoder(f"{name}@One-B2")
    assert tagged.image_std == (0.4, 0.5, 0.6) and tagged.geometry()["resize_mode"] == "longest"
    with caplog.at_level(logging.WARNING):
        for source in (path, f"one_b2={path}", f"One-B2={path}"):
            assert create_encoder(f"{name}@{source}").fingerprint() == tagged.fingerprint()
    assert not caplog.text


def test_no_silent_random_weights(architecture):
    refuses("open_clip:ViT-B-32", "names no weights", "laion2b_s34b_b79k", "open_clip:ViT-B-32@/path/to/file")
    refuses("open_clip:" + architecture("recbole_mm-test"), "one of: none", "@/path/to/file")


def test_unknown_names_and_tags():
    refuses("open_clip:ViT-B-31@openai", "no architecture 'ViT-B-31'", "'ViT-B-32'")
    refuses("open_clip:TINI", "'tiny'")
    refuses("open_clip:ViT-B-32@laion2b_s34b", "no tag 'laion2b_s34b'", "did you mean 'laion2b_s34b_b79k'?", "datacomp_xl")
    refuses("open_clip:hf-hub:org/repo@main", "drop '@main'")


def test_weights_that_cannot_be_had(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "_unreachable_until", 0.0)
    started = time.monotonic()
    refuses(
        "open_clip:ViT-B-16-quickgelu@openai",
        "no network",
        "timm/vit_base_patch16_clip_224.openai",
        "open_clip:ViT-B-16-quickgelu@openai=/path/to/file",
        "HF_HOME",
    )
    refuses("open_clip:hf-hub:org/repo", "no network", "repository org/repo", "open_clip:local-dir:/folder")
    assert time.monotonic() - started < 5
    assert constants.HF_HUB_OFFLINE is False


def test_a_hub_tokenizer_that_cannot_be_had(tmp_path):
    from open_clip import get_model_config

    path = save(torch.nn.Linear(1, 1), tmp_path / "siglip.safetensors")
    assert get_model_config("ViT-B-16-SigLIP")["text_cfg"]["hf_tokenizer_name"]
    refuses(f"open_clip:ViT-B-16-SigLIP@{path}", "its tokenizer comes from the hub repository timm/ViT-B-16-SigLIP", "HF_HOME")


def test_a_folder_with_its_own_tokenizer(tmp_path, small_config):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "red", "shirt", "<pad>"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    text = {**small_config["text_cfg"], "hf_tokenizer_name": "org/elsewhere", "vocab_size": 4, "pad_id": 3, "pool_type": "last"}
    config = {**small_config, "text_cfg": text}
    folder = write_folder(tmp_path / "words", config, model_of(config))
    refuses(f"open_clip:local-dir:{folder}", "its tokenizer comes from the local-dir:")
    PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    encoder = create_encoder(f"open_clip:local-dir:{folder}")
    ids = encoder.tokenize(["red shirt", "shirt " * 40])
    assert encoder.pad_id == 3 and ids[0].tolist() == [1, 2] + [3] * 14 and ids[1].tolist() == [2] * 16
    assert encoder({"text": ids})["text"].shape == (2, 24)


def test_a_trained_tiny_encoder_comes_back(tmp_path, tiny):
    other = create_encoder("open_clip:tiny", seed=9)
    path = save(other.model, tmp_path / "mine.safetensors")
    assert create_encoder(f"open_clip:tiny@{path}").fingerprint() == other.fingerprint() != tiny.fingerprint()


@pytest.mark.parametrize(
    ("vision", "layers"),
    [
        ({"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}, 4),
        ({"image_size": 64, "timm_model_name": "convnext_atto", "timm_pool": "avg", "timm_proj": "linear"}, 4),
    ],
    ids=["resnet", "timm"],
)
def test_other_image_towers(tmp_path, small_config, batch, vision, layers):
    import open_clip  # noqa: F401, before timm: it needs torchvision

    config = {**small_config, "vision_cfg": vision}
    encoder = create_encoder(f"open_clip:local-dir:{write_folder(tmp_path / 'f', config, model_of(config))}")
    assert encoder.image_size == (64, 64) and len(encoder.layers()) == layers + 1
    encoder.contrastive_loss(encoder(batch(encoder, 2))).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
