"""Ten architectures of different kinds, as small as timm builds them, with random weights."""

from pathlib import Path

import pytest

from tests.timm_folders import write_timm

SMALL = {"embed_dim": 32, "depth": 3, "num_heads": 2}
ARCHITECTURES = {
    "test_resnet": {},
    "test_convnext": {},
    "test_vit": {},
    "vit_small_patch14_dinov2": {**SMALL, "size": 28},
    "vit_small_patch16_dinov3": SMALL,
    "swin_tiny_patch4_window7_224": {"embed_dim": 16, "depths": (1, 1, 1), "num_heads": (2, 2, 4), "window_size": 2},
    "eva02_tiny_patch14_224": {**SMALL, "size": 28, "img_size": 28},
    "mobilenetv4_conv_small_035": {},
    "test_efficientnet": {},
    "vit_base_patch32_clip_224": {**SMALL, "patch_size": 16},
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """architecture -> its folder."""
    root = tmp_path_factory.mktemp("timm")
    return {name: write_timm(root / name, name, **arguments) for name, arguments in ARCHITECTURES.items()}
