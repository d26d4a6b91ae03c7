"""The smallest encoder of every backend, and the one of examples/. A new backend adds its own to KINDS and ``names``."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import examples.own_encoder  # noqa: F401  (registers the backend "colours")
from recbole_mm.encoder import ItemEncoder, create_encoder

KINDS = ["open_clip", "vlmo", "beit3", "hf", "hf_naflex", "hf_image", "hf_text", "timm", "st", "st_text", "separate", "colours"]
READ_PICTURES = [kind for kind in KINDS if kind not in ("hf_text", "st_text")]
READ_TEXTS = [kind for kind in KINDS if kind not in ("hf_image", "timm", "colours")]
READ_BOTH_IN_ONE_PASS = ["vlmo", "beit3", "st"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Tiny models of transformers, sentence-transformers and timm on the disk."""
    from tests.hf_folders import write_bert, write_clip, write_naflex, write_qwen, write_vit
    from tests.st_folders import write_vl
    from tests.timm_folders import write_timm

    root = tmp_path_factory.mktemp("encoders")
    written = {
        "hf": write_clip,
        "hf_naflex": write_naflex,
        "hf_image": write_vit,
        "hf_text": write_bert,
        "timm": write_timm,
        "st": write_vl,
    }
    made = {kind: write(root / kind) for kind, write in written.items()}
    return {**made, "st_text": write_qwen(root / "qwen", length=64)}


@pytest.fixture(scope="session")
def names(folders) -> dict[str, str]:
    """kind -> what ``create_encoder`` takes."""
    found = {kind: f"{kind}:tiny" for kind in ("open_clip", "vlmo", "beit3")}
    found |= {kind: f"{kind.partition('_')[0]}:{path}" for kind, path in folders.items()}
    found["timm"] = f"timm:test_efficientnet@{folders['timm']}"
    return found | {"separate": f"separate:image={found['hf_image']},text={found['hf_text']}", "colours": "colours:small"}


@pytest.fixture(scope="session")
def made() -> dict[str, ItemEncoder]:
    return {}


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture()
def encoder(kind, names, made) -> ItemEncoder:
    """Read-only: whoever changes weights takes ``own``."""
    if kind not in made:
        made[kind] = create_encoder(names[kind], seed=1)
    return made[kind]


@pytest.fixture()
def own(encoder) -> ItemEncoder:
    return copy.deepcopy(encoder)


@pytest.fixture(scope="session")
def elsewhere(names) -> dict[str, list[str]]:
    """kind -> fingerprint and preprocess_key in another process."""
    code = (
        "import json, sys, examples.own_encoder; from recbole_mm.encoder import create_encoder; "
        "made = {k: create_encoder(n, seed=1) for k, n in json.loads(sys.argv[1]).items()}; "
        "print(json.dumps({k: [e.fingerprint(), e.preprocess_key] for k, e in made.items()}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-W", "ignore", "-c", code, json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
