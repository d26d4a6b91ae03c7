"""Tiny transformers folders with random weights, as the hub's repositories lie on disk. ``write_bert(folder)`` returns the folder.

The vocabularies hold every ASCII character, so that any English text becomes tokens other than the unknown one.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from recbole_mm.compat.libraries import fix_torchvision

fix_torchvision()

ASCII = [chr(i) for i in range(33, 127)]
WORDS = ["red", "shirt", "wool", "scarf", "boots", "blue", "very", "long", "item", "number", "of", "the", "shop", "word"]
START, END = "<|startoftext|>", "<|endoftext|>"
MEAN, STD = [0.48, 0.45, 0.41], [0.27, 0.26, 0.28]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def write_clip(folder: Path, vision_layers: int = 2) -> Path:
    """A CLIP: 32 px, shortest edge and centre crop, 24 tokens, padded with its end token as the released ones are, rows of 24."""
    from transformers import CLIPConfig, CLIPModel

    vocabulary = _write_clip_tokenizer(folder, length=24)
    text = {**SIZES, "vocab_size": len(vocabulary), "max_position_embeddings": 24, "bos_token_id": vocabulary[START]}
    text |= {"eos_token_id": vocabulary[END], "pad_token_id": vocabulary[END]}
    vision = {**SIZES, "num_hidden_layers": vision_layers, "image_size": 32, "patch_size": 16}
    _save(folder, lambda: CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)))
    return _processor(
        folder,
        "CLIPImageProcessor",
        do_resize=True,
        size={"shortest_edge": 32},
        do_center_crop=True,
        crop_size={"height": 32, "width": 32},
        resample=3,
    )


def write_siglip(folder: Path) -> Path:
    """A SigLIP: 32 px squashed, always 16 tokens, padded with its end token; rows of 32."""
    from transformers import SiglipConfig, SiglipModel

    size = _write_word_tokenizer(folder, length=16, pad="</s>")
    text = {**SIZES, "vocab_size": size, "max_position_embeddings": 16, "pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 2}
    _save(folder, lambda: SiglipModel(SiglipConfig(text_config=text, vision_config={**SIZES, "image_size": 32, "patch_size": 16})))
    return _processor(
        folder, "SiglipImageProcessor", do_resize=True, size={"height": 32, "width": 32}, resample=3, mean=[0.5] * 3, std=[0.5] * 3
    )


def write_siglip2(folder: Path) -> Path:
    """A SigLIP2 at a fixed resolution: SigLIP's model, and Gemma's tokenizer, of always 64 tokens."""
    from transformers import SiglipConfig, SiglipModel

    size = write_gemma_tokenizer(folder)
    text = {**SIZES, "vocab_size": size, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}
    _save(folder, lambda: SiglipModel(SiglipConfig(text_config=text, vision_config={**SIZES, "image_size": 32, "patch_size": 16})))
    geometry = {"do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2}
    return _processor(folder, "SiglipImageProcessor", mean=[0.5] * 3, std=[0.5] * 3, **geometry)


def write_naflex(folder: Path, tower: bool = False) -> Path:
    """A SigLIP2 NaFlex: pictures of at most 24 patches of 8 px over a grid of 4 x 4 positions, always 64 tokens; rows of 32. Or its image
    ``tower`` alone, without the head that pools."""
    from transformers import Siglip2Config, Siglip2Model, Siglip2VisionConfig, Siglip2VisionModel

    vision = {**SIZES, "num_patches": 16, "patch_size": 8}
    if tower:
        _save(folder, lambda: Siglip2VisionModel(Siglip2VisionConfig(**vision, vision_use_head=False)))
    else:
        size = write_gemma_tokenizer(folder)
        text = {**SIZES, "vocab_size": size, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}
        _save(folder, lambda: Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)))
    shape = {"patch_size": 8, "max_num_patches": 24, "do_resize": True, "resample": 2}
    return _processor(folder, "Siglip2ImageProcessor", mean=[0.5] * 3, std=[0.5] * 3, **shape)


def write_vit(folder: Path, pooler: bool = True) -> Path:
    """A ViT of 32 px with its pooler's weights in the file, or without."""
    from transformers import ViTConfig, ViTModel

    _save(folder, lambda: ViTModel(ViTConfig(**SIZES, image_size=32, patch_size=16), add_pooling_layer=pooler))
    return _processor(folder, "ViTImageProcessor", do_resize=True, size={"height": 32, "width": 32}, resample=2)


def write_dinov2(folder: Path) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    small = {key: value for key, value in SIZES.items() if key != "intermediate_size"}
    _save(folder, lambda: Dinov2Model(Dinov2Config(**small, image_size=28, patch_size=14, mlp_ratio=2)))
    return _processor(
        folder,
        "BitImageProcessor",
        do_resize=True,
        size={"shortest_edge": 32},
        do_center_crop=True,
        crop_size={"height": 28, "width": 28},
        resample=3,
    )


def write_resnet(folder: Path) -> Path:
    from transformers import ResNetConfig, ResNetModel

    shape = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2], "layer_type": "basic"}
    _save(folder, lambda: ResNetModel(ResNetConfig(**shape)))
    return _convnext_processor(folder)


def write_convnext(folder: Path) -> Path:
    from transformers import ConvNextConfig, ConvNextModel

    _save(folder, lambda: ConvNextModel(ConvNextConfig(hidden_sizes=[16, 32], depths=[1, 2], num_stages=2)))
    return _convnext_processor(folder)


def write_swin(folder: Path) -> Path:
    from transformers import SwinConfig, SwinModel

    shape = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4}
    _save(folder, lambda: SwinModel(SwinConfig(**shape)))
    return _processor(folder, "ViTImageProcessor", do_resize=True, size={"height": 32, "width": 32}, resample=3)


def write_bert(folder: Path, pooler: bool = True) -> Path:
    """A BERT of 32 tokens with its pooler's weights in the file, or without."""
    from transformers import BertConfig, BertModel

    size = _write_bert_tokenizer(folder)
    config = BertConfig(**SIZES, vocab_size=size, max_position_embeddings=32)
    return _save(folder, lambda: BertModel(config, add_pooling_layer=pooler))


def write_distilbert(folder: Path) -> Path:
    from transformers import DistilBertConfig, DistilBertModel

    size = _write_bert_tokenizer(folder)
    config = DistilBertConfig(vocab_size=size, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=32)
    return _save(folder, lambda: DistilBertModel(config))


def write_roberta(folder: Path) -> Path:
    """A RoBERTa: 34 positions of which two are reserved, so 32 tokens."""
    from transformers import RobertaConfig, RobertaModel

    size = _write_word_tokenizer(folder, length=None, pad="<pad>")
    config = RobertaConfig(**SIZES, vocab_size=size, max_position_embeddings=34, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    return _save(folder, lambda: RobertaModel(config))


def write_qwen(folder: Path, length: int = 24) -> Path:
    """A decoder that pools its last token, as the Qwen3 embedders do."""
    from transformers import Qwen3Config, Qwen3Model

    size = _write_word_tokenizer(folder, length=length, pad="<pad>")
    config = Qwen3Config(
        **SIZES,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=size,
        max_position_embeddings=64,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    _save(folder, lambda: Qwen3Model(config))
    return write_sentence_modules(folder, "lasttoken")


def write_sentence_modules(
    folder: Path, *pooling: str, dense: int | None = None, max_seq_length: int | None = None, normalize: bool = True, width: int = 32
) -> Path:
    """sentence-transformers' files beside a text model: ``pooling`` of cls | mean | max | lasttoken, and a ``dense`` width."""
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken"}
    flags = {f"pooling_mode_{mode}": name in pooling for name, mode in modes.items()}
    kinds = ["Transformer", "Pooling"] + ["Dense"] * bool(dense) + ["Normalize"] * normalize
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds) if i)]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]
    _json(folder / "modules.json", modules)
    _json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **flags})
    _json(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": False})
    if dense:
        config = {
            "in_features": width * len(pooling),
            "out_features": dense,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        }
        _json(folder / "2_Dense" / "config.json", config)
        from safetensors.torch import save_file

        generator = torch.Generator().manual_seed(5)
        shapes = {"linear.weight": (dense, config["in_features"]), "linear.bias": (dense,)}
        weights = {key: torch.randn(shape, generator=generator) / 6 for key, shape in shapes.items()}
        save_file(weights, folder / "2_Dense" / "model.safetensors")
    return folder


def _save(folder: Path, build: Callable[[], nn.Module]) -> Path:
    """Random weights, larger than transformers' own initial ones so that every part shows in the rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = build().eval()
        for name, parameter in model.named_parameters():
            if parameter.dim() and "logit" not in name:
                nn.init.normal_(parameter, 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0, 0.15)
    model.save_pretrained(folder)
    return folder


def _json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _processor(folder: Path, kind: str, mean: list[float] = MEAN, std: list[float] = STD, **geometry: object) -> Path:
    config = {"image_processor_type": kind, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    _json(folder / "preprocessor_config.json", {**config, "image_mean": mean, "image_std": std, **geometry})
    return folder


def _convnext_processor(folder: Path) -> Path:
    return _processor(folder, "ConvNextImageProcessor", do_resize=True, size={"shortest_edge": 48}, crop_pct=0.875, resample=3)


def _write_clip_tokenizer(folder: Path, length: int) -> dict[str, int]:
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges = [("r", "e"), ("re", "d</w>"), ("o", "o"), ("s", "h")]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges), START, END]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    _json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    _json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": length,
            "bos_token": START,
            "eos_token": END,
            "unk_token": END,
            "pad_token": END,
        },
    )
    return vocabulary


def _write_bert_tokenizer(folder: Path) -> int:
    letters = [c for c in ASCII if not c.isupper()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters), *WORDS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    _json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512})
    return len(tokens)


def _write_word_tokenizer(folder: Path, length: int | None, pad: str) -> int:
    """A byte-level BPE without merges under transformers' generic class: ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="<unk>"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    names = ["input_ids", "attention_mask"] if pad == "<pad>" else ["input_ids"]
    limit = {} if length is None else {"model_max_length": length}
    PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token=pad, model_input_names=names, **limit
    ).save_pretrained(folder)
    return len(tokens)


def write_gemma_tokenizer(folder: Path) -> int:
    """As SigLIP2's repositories have it: tokens of single characters in both cases under the class of Gemma, which keeps the case."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\u2581", *ASCII]
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "\u2581")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    inner.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "model_input_names": ["input_ids"]}
    ends = {"add_bos_token": False, "add_eos_token": True, "padding_side": "right"}
    _json(folder / "tokenizer_config.json", {"tokenizer_class": "GemmaTokenizer", **ends, **names})
    return len(tokens)
