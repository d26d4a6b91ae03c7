"""Tiny encoders of every backend that can be pruned."""

from tests import hf_folders, st_folders, timm_folders


def sentence(folder):
    return hf_folders.write_sentence_modules(hf_folders.write_bert(folder), "mean", dense=12)


WRITERS = {
    "open_clip": lambda folder: "open_clip:tiny",
    "vlmo": lambda folder: "vlmo:tiny",
    "beit3": lambda folder: "beit3:tiny",
    "bert": lambda folder: f"hf:{hf_folders.write_bert(folder)}",
    "sentence": lambda folder: f"hf:{sentence(folder)}",
    "clip": lambda folder: f"hf:{hf_folders.write_clip(folder)}",
    "siglip": lambda folder: f"hf:{hf_folders.write_siglip(folder)}",
    "distilbert": lambda folder: f"hf:{hf_folders.write_distilbert(folder)}",
    "dinov2": lambda folder: f"hf:{hf_folders.write_dinov2(folder)}",
    "qwen": lambda folder: f"st:{hf_folders.write_qwen(folder)}",
    "vl": lambda folder: f"st:{st_folders.write_vl(folder)}",
    "vit": lambda folder: f"timm:test_vit@{timm_folders.write_timm(folder, 'test_vit', img_size=32)}",
    "eva": lambda folder: f"timm:eva02_tiny_patch14_224@{eva(folder)}",
    "separate": lambda folder: f"separate:image=vlmo:tiny,text=hf:{hf_folders.write_bert(folder)}",
}
"""What writes a tiny encoder into a folder and returns its name. All of their towers have at least two blocks."""


def eva(folder):
    """With a gate and a norm in its feed-forward parts."""
    sizes = {"img_size": 28, "embed_dim": 48, "num_heads": 2, "depth": 3}
    return timm_folders.write_timm(folder, "eva02_tiny_patch14_224", size=28, **sizes)
