"""Lesson: what a student learns from, the contents of a catalogue and what a teacher makes of them."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from recbole_mm.data.content import ItemContent
from recbole_mm.distillation.agreement import Agreement
from recbole_mm.distillation.catalogue_importance import catalogue_importance
from recbole_mm.distillation.choose import DistilChooser
from recbole_mm.distillation.prune import pruned
from recbole_mm.distillation.settings import DistilSettings
from recbole_mm.encoder import ItemEncoder
from recbole_mm.finetune.loop import FinetuningLoop
from recbole_mm.finetune.tuned_store import tuned_key
from recbole_mm.finetune.units import Units
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.parallel.ranks import Ranks


class Lesson:
    """What the students of one teacher learn from.

    Args:
        content: the pictures and texts of all items.
        taught: ``{modality: (n_items, d)}``, the teacher's rows, in the modalities that teacher and student have in common.
        settings: how students are taught.
    """

    def __init__(self, content: ItemContent, taught: Mapping[str, Tensor], settings: DistilSettings) -> None:
        self.content, self.taught, self.settings = content, taught, settings
        self.store = content.cache_dir / "students"

    def pruned(self, encoder: ItemEncoder, shares: tuple[float, float]) -> ItemEncoder:
        """An encoder without these shares of its blocks and hidden units, of which those go that matter least for the catalogue."""
        items, units, agreement = self._over(encoder)
        name = tuned_key(encoder.fingerprint(), self.settings, units, nn.ModuleDict())
        file = self.store / "importance" / f"{name} {self.settings.prune_by} {shares[0]:g} {shares[1]:g}.safetensors"
        importance, device = catalogue_importance(items, units, agreement.split.trained, shares, self.settings, file), items.device
        return pruned(encoder.cpu(), *shares, importance).to(device)

    def staged(self, student: ItemEncoder, same_space: bool) -> tuple[FinetuningLoop, Path]:
        """The loop that teaches a student, and the folder of the store that its result belongs into.

        Args:
            same_space: whether the student's rows lie in the teacher's space already.

        Raises:
            InputError: an objective that was asked for is not possible, or too few items are there to learn from.
        """
        settings = self.settings.for_encoder(student)
        items, units, agreement = self._over(student)
        objectives = DistilChooser(items, units, agreement.split.trained, agreement.taught, same_space, settings).choose()
        settings = settings.only(objectives)
        folder = self.store / tuned_key(student.fingerprint(), settings, units, objectives)
        return FinetuningLoop(items, units, objectives, agreement, settings), folder

    def _over(self, encoder: ItemEncoder) -> tuple[RawItems, Units, Agreement]:
        """The items of an encoder, their units, and how the encoder is validated."""
        settings = self.settings
        inputs = EncoderInputs(encoder, self.content, list(self.taught), settings.show_progress)
        items = RawItems(encoder, inputs, chunk_size=settings.chunk_size, precision=settings.precision, ranks=Ranks())
        units = Units(inputs)
        return items, units, Agreement(units, {m: rows[units.ids] for m, rows in self.taught.items()}, encoder.aligned, settings)
