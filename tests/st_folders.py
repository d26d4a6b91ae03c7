"""Tiny random models that read pictures as tokens among words, written as their folders are on the hub."""

from pathlib import Path

from tests.hf_folders import SIZES, _save, _write_word_tokenizer

SPECIAL = {
    name: f"<|{name}|>" for name in ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
)
VISION = {"depth": 2, "num_heads": 4, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "hidden_size": 32}


def write_vl(folder: Path, kind: str = "Qwen3VL", template: str = TEMPLATE) -> Path:
    """A Qwen2VL or Qwen3VL: pictures of 8 to 36 patches of 4 px, four of which become a token; 120 tokens; rows of 32."""
    import transformers

    _write_word_tokenizer(folder, length=120, pad="<pad>")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL.values())})
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    text = {**SIZES, "num_key_value_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 256, "rope_parameters": rope}
    text |= {"head_dim": 8, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    own = {"Qwen3VL": {"intermediate_size": 64, "out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}}
    vision = {**VISION, **own.get(kind, {"embed_dim": 32, "mlp_ratio": 2})}
    tokens = {"image_token_id": "image_pad", "video_token_id": "video_pad", "vision_start_token_id": "vision_start",
              "vision_end_token_id": "vision_end"}  # fmt: skip
    settings = {key: ids[name] for key, name in tokens.items()}
    config, model, video, processor = (getattr(transformers, kind + what) for what in ("Config", "Model", "VideoProcessor", "Processor"))
    _save(folder, lambda: model(config(text_config=text, vision_config=vision, **settings)))
    sizes = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    pictures = transformers.Qwen2VLImageProcessor(**sizes, size={"shortest_edge": 8 * 16, "longest_edge": 36 * 16})
    processor(image_processor=pictures, tokenizer=tokenizer, video_processor=video(**sizes), chat_template=template).save_pretrained(folder)
    return folder
