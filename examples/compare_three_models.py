"""Compare three recommenders: popularity, ids alone, and ids with pictures and texts.

All three run through the same call and are tested on the same split. The first is RecBole's, as is the second; the third reads the
items' pictures and texts by a small CLIP, here with random weights and frozen.
"""

from recbole_mm import run

SETTINGS = {
    "epochs": 20,
    "learning_rate": 0.01,
    "metrics": ["Recall", "NDCG"],
    "topk": [20],
    "valid_metric": "Recall@20",
    "show_progress": False,
    "state": "WARNING",
}
MODELS = {"Pop": {}, "BPR": {}, "VBPR": {"encoder_training": "pretrained"}}

print("model   recall@20   ndcg@20")
for name, own in MODELS.items():
    result = run(name, "demo", config_dict={**SETTINGS, **own})["test_result"]
    print(f"{name:5} {result['recall@20']:11.3f} {result['ndcg@20']:9.3f}")
