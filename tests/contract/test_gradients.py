"""Really end-to-end: in float64, the gradients at every encoder are the slopes of every kind of recommender's loss."""

import pytest
import torch

from recbole_mm.testing.planted import built, write_planted

TOWERS = {
    "open_clip:tiny": {
        "image": ["visual.conv1.weight", "visual.transformer.resblocks.0.mlp.c_fc.weight", "visual.proj"],
        "text": ["transformer.resblocks.0.attn.in_proj_weight", "transformer.resblocks.1.mlp.c_proj.weight", "ln_final.bias"],
    },
    "vlmo:tiny": {
        "image": ["transformer.patch_embed.proj.weight", "transformer.blocks.0.mlp_imag.fc1.weight", "itc_image_proj.fc.weight"],
        "text": ["text_embeddings.word_embeddings.weight", "transformer.blocks.1.mlp_text.fc2.weight", "itc_text_proj.fc.weight"],
        "both": ["relative_position_bias_table", "transformer.blocks.0.attn.qkv.weight", "transformer.blocks.1.attn.proj.weight"],
    },
    "beit3:tiny": {
        "image": ["beit3.vision_embed.proj.weight", "beit3.encoder.layers.0.ffn.A.fc1.weight", "vision_head.weight"],
        "text": ["beit3.text_embed.weight", "beit3.encoder.layers.1.self_attn.q_proj.B.weight", "language_head.weight"],
    },
}
MODELS = {
    "CLIPRec": [{"loss_type": "SSM"}, {"loss_type": "BPR"}, {"use_id": False}],
    "VBPR": [{"encoder_chunk_size": 5}],
    "LATTICE": [{"knn_k": 4, "lambda_coeff": 0.2}],
}
STEP = 1e-5
WORD = "for the "
CASES = [(name, keys[0], encoder) for encoder in TOWERS for name, keys in MODELS.items()]
CASES += [("CLIPRec", keys, "open_clip:tiny") for keys in MODELS["CLIPRec"][1:]]


@pytest.mark.parametrize(("model_name", "keys", "encoder"), CASES, ids=str)
def test_encoder_gradients_equal_finite_differences(model_name, keys, encoder, shop):
    keys = {**keys, **({"contrastive_weight": 0.3, "id_dropout": 0.0} if model_name == "CLIPRec" else {})}
    _, model, train, *_ = built(shop, model_name, train_batch_size=32, encoder=encoder, **keys)
    model.double().train()
    model.start_epoch(0)
    batch = next(iter(train))
    sum(model.calculate_loss(batch)).backward()
    draw = torch.Generator().manual_seed(0)
    for name in sum(TOWERS[encoder].values(), []):
        parameter = model.item_features.encoder.model.get_parameter(name)
        random = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        direction = parameter.grad / parameter.grad.norm() + random / random.norm()
        slope = slope_of(model, batch, parameter, direction)
        assert abs(slope) > 1e-7, name
        assert slope == pytest.approx((parameter.grad * direction).sum().item(), rel=1e-5, abs=1e-10), name


def slope_of(model, batch, parameter: torch.Tensor, direction: torch.Tensor) -> float:
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(sign * STEP * direction)
            losses.append(sum(model.calculate_loss(batch)).item())
            parameter.sub_(sign * STEP * direction)
    return (losses[0] - losses[1]) / (2 * STEP)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """No two texts are alike: items with the same features are neighbours whatever the encoder does."""
    folder = write_planted(tmp_path_factory.mktemp("gradients") / "shop", n_users=16, n_items=20)
    lines = (folder / "shop.item").read_text().splitlines()
    numbered = [f"{line.partition(WORD)[0]}{WORD}{i} {line.partition(WORD)[2]}" for i, line in enumerate(lines[1:])]
    (folder / "shop.item").write_text("\n".join([lines[0], *numbered]) + "\n")
    return folder
