"""CatalogueConfig: the configuration of the commands that work on a catalogue: extract, finetune, distil, audit."""

from collections.abc import Mapping, Sequence

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import get_model, is_ours

_ENCODER_ALONE = {"strategy": {"fsdp": "ddp"}, "cache_hidden_states": {"True": False}}
DISTILLING = {
    **_ENCODER_ALONE, "encoder_training": {"end2end": "pretrained", "finetuned": "pretrained"}, "gradient_checkpointing": {"True": False},
}  # fmt: skip
EXTRACTION = {**_ENCODER_ALONE, "encoder_training": {"end2end": "pretrained"}}
FINE_TUNING = {**_ENCODER_ALONE, "encoder_training": {"end2end": "finetuned", "pretrained": "finetuned"}}


class CatalogueConfig(MultiModalConfig):
    """A run's configuration, read from the same keys and files, as a command takes it that has no use for a recommender.

    The model is the run's, or a stand-in where the run names none or one of RecBole's, which have no encoder. Keys that only other models
    read are ignored.

    Args:
        settings: the command line, ``--key=value``.
        instead: values that the command replaces before they are checked: ``{key: {value as text: its replacement}}``.
        stand_in: the name of the stand-in.
    """

    def __init__(
        self, model: str | None, dataset: str | None, files: list[str] | None, settings: Sequence[str],
        instead: Mapping[str, Mapping[str, object]] | None = None, stand_in: str = "CLIPRec",
    ) -> None:  # fmt: skip
        self._instead, self._stand_in = instead or {}, stand_in
        super().__init__(model, dataset, files, command_line=settings)

    def _get_model_and_dataset(self, model: str | None, dataset: str | None) -> tuple[str, type, str]:
        model = model or self.external_config_dict.get("model")
        self._load_plugins()
        known = get_model(model) if model else None
        return super()._get_model_and_dataset(self._stand_in if not model or known and not is_ours(known) else model, dataset)

    def _leave_aside(self, foreign: Mapping[str, str], model_class: type) -> None:
        for key in foreign:
            del self.external_config_dict[key]

    def _get_final_config_dict(self) -> dict:
        final = super()._get_final_config_dict()
        return final | {key: own.get(str(final[key]), final[key]) for key, own in self._instead.items()}
