"""The model and the trainer of a run."""

from logging import getLogger

from recbole.model.abstract_recommender import AbstractRecommender
from recbole.model.general_recommender.pop import Pop
from recbole.utils import init_seed

from recbole_mm.checkpoint import checkpoint_name
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.registry import is_ours
from recbole_mm.evaluation.popularity import Popularity
from recbole_mm.evaluation.protocol import never_recommend
from recbole_mm.model.similarity import SimilarityRecommender
from recbole_mm.parallel.memory import keep_freed_memory
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.training.closed_form import ClosedFormTrainer
from recbole_mm.training.recbole_trainer import recbole_trainer
from recbole_mm.training.trainer import MultiModalTrainer


def build_model(config: MultiModalConfig, train_data) -> AbstractRecommender:
    """Makes the model of a configuration, on its device, with the weights that the seed gives.

    Args:
        train_data: the training loader that ``data_preparation`` made.

    Raises:
        InputError: the encoder or the item features cannot be had.
    """
    return model_over(config, train_data._dataset)


def model_over(config: MultiModalConfig, dataset) -> AbstractRecommender:
    """As ``build_model``, over the training part of a data set."""
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model_class = config.model_class
    if model_class is Pop:
        getLogger().warning("Pop counts the training interactions here; RecBole's counts sampled negatives too, and an item once per batch")
        model_class = Popularity
    model = model_class(config, dataset).to(config["device"])
    gone_items = getattr(dataset, "gone_items", ())  # a data set that is read by RecBole alone has none
    if len(gone_items):
        never_recommend(model, gone_items, dataset.iid_field)
    return model


def build_trainer(config: MultiModalConfig, model: AbstractRecommender):
    """Makes the trainer of a model: a MultiModalTrainer for our models, or a ClosedFormTrainer for those that are found at once, and
    RecBole's trainer for RecBole's models. Its ``saved_model_file`` is a name in ``checkpoint_dir`` that no other run has."""
    if config["fast_loop"]:
        keep_freed_memory()
    ours = ClosedFormTrainer if isinstance(model, SimilarityRecommender) else MultiModalTrainer
    trainer = (ours if is_ours(config.model_class) else recbole_trainer)(config, model)
    trainer.saved_model_file = Ranks.current().agree(checkpoint_name(config))
    return trainer
