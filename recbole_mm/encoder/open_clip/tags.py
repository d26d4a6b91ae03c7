"""What open_clip knows about an architecture's weights: which tags fit it, and which preprocessing a local file goes with."""

import json
import logging
import re
from dataclasses import asdict
from pathlib import Path

from recbole_mm.errors import InputError, listed

logger = logging.getLogger(__name__)

PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")


class Architecture:
    """One of open_clip's architectures.

    Attributes:
        config: its model_cfg.
        quick: it computes QuickGELU instead of GELU.
        twin: the architecture that differs only in this activation, if open_clip has one.
        tags: tag -> open_clip's pretrained_cfg, for all tags listed for it; ``usable`` are those trained with its activation.
    """

    def __init__(self, name: str):
        import open_clip

        self.name, self.config = name, open_clip.get_model_config(name)
        self.quick = bool(self.config.get("quick_gelu"))
        twin = name.removesuffix("-quickgelu") if name.endswith("-quickgelu") else f"{name}-quickgelu"
        self.twin = twin if twin in open_clip.list_models() else None
        self.tags, self._twins_tags = _tags(name), _tags(self.twin)
        self.usable = {tag: cfg for tag, cfg in self.tags.items() if not self.twin or bool(cfg.get("quick_gelu")) == self.quick}

    def tag(self, label: str, tag: str, source: str) -> dict | None:
        """The pretrained_cfg of a tag, None if open_clip has no such tag.

        Raises:
            InputError: its weights were trained with the other activation; names the twin to use with ``source``.
        """
        tag = tag.lower().replace("-", "_")
        if tag not in self.usable and self.twin and (tag in self.tags or tag in self._twins_tags):
            raise InputError(
                f"{label}: these weights were trained with {_activation(not self.quick)}, and {self.name} computes "
                f"{_activation(self.quick)}: use open_clip:{self.twin}@{source}"
            )
        return self.usable.get(tag)

    def preprocess_of_file(self, label: str, path: Path, beside: tuple[dict, dict] | None) -> dict:
        """How the pictures of a local weights file are prepared: as the open_clip_config.json beside it says (``beside``: its model_cfg
        and preprocess_cfg); else as all tags of the architecture say; else, if there are no tags, as for CLIP.

        Raises:
            InputError: the configuration or the file's name contradicts the architecture, or the tags contradict each other.
        """
        tags = self.usable or self.tags
        known = {json.dumps(_whole(cfg), sort_keys=True): cfg for cfg in tags.values()}
        if beside is not None:
            self._agree(label, path, *beside, known)
            return beside[1]
        self._expect_activation(label, path)
        if len(known) > 1:
            forms = listed(f"open_clip:{self.name}@{tag}={path}" for tag in tags)
            raise InputError(f"{label}: the tags of {self.name} prepare pictures differently, so say whose weights the file holds: {forms}")
        if not known:
            logger.warning(
                "%s does not say how its pictures are prepared, and %s has no tags: assuming CLIP's preprocessing (shortest side, centre "
                "crop, bicubic, CLIP's mean and std); put the file beside an open_clip_config.json to say otherwise",
                path,
                self.name,
            )
        return next(iter(known.values()), {})

    def _agree(self, label: str, path: Path, config: dict, preprocess: dict, known: dict) -> None:
        quick = bool(config.get("quick_gelu"))
        if quick != self.quick:
            instead = f"open_clip:{self.twin}@{path} or " if self.twin else ""
            raise InputError(
                f"{label}: the open_clip_config.json beside it says {_activation(quick)}, and {self.name} computes "
                f"{_activation(self.quick)}: use {instead}open_clip:local-dir:{path.parent}"
            )
        if known and json.dumps(_whole(preprocess), sort_keys=True) not in known:
            raise InputError(
                f"{label}: the preprocess_cfg of the open_clip_config.json beside it is not that of {self.name}'s tags: "
                f"use open_clip:local-dir:{path.parent}, or say whose weights they are: open_clip:{self.name}@<tag>={path}"
            )

    def _expect_activation(self, label: str, path: Path) -> None:
        """Of a file on its own only the name can tell with which activation it was trained."""
        if not self.twin:
            return
        quick = {tag: bool(cfg.get("quick_gelu")) for tag, cfg in {**self._twins_tags, **self.tags}.items()}
        families = {tag.partition("_")[0] for tag in quick}
        for family in families - set(quick):
            members = {activation for tag, activation in quick.items() if tag.startswith(family + "_")}
            if len(members) == 1:
                quick[family] = members.pop()
        named = [tag for tag in quick if _letters(tag) in _letters(path.name)]
        if not named:
            logger.warning(
                "%s does not say with which activation it was trained; %s computes %s, and %s the other one",
                path,
                self.name,
                _activation(self.quick),
                self.twin,
            )
        elif quick[tag := max(named, key=len)] != self.quick:
            raise InputError(
                f"{label}: {path.name} is named like {tag}'s weights, which were trained with {_activation(not self.quick)}, "
                f"and {self.name} computes {_activation(self.quick)}: use open_clip:{self.twin}@{path}, or say whose weights "
                f"they are: open_clip:{self.name}@<tag>={path}"
            )


def _tags(name: str | None) -> dict[str, dict]:
    import open_clip

    return {tag: open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)}


def _whole(preprocess: dict) -> dict:
    """A preprocess_cfg with open_clip's defaults where it says nothing."""
    from open_clip.transform import PreprocessCfg

    given = {key: preprocess[key] for key in PREPROCESS_KEYS if preprocess.get(key) is not None}
    return {key: value for key, value in {**asdict(PreprocessCfg()), **given}.items() if key in PREPROCESS_KEYS}


def _activation(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def _letters(text: str) -> str:
    return re.sub("[^a-z0-9]", "", text.lower())
