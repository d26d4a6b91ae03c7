"""The table of recbole_mm's configuration keys, but for those of a single model, which its class declares.

``properties/overall.yaml`` shows users the same table; ``python -m recbole_mm.config.property_files`` writes it from here.
"""

from collections.abc import Mapping, Sequence

from recbole_mm.config.kinds import (
    AMOUNT,
    COUNT,
    EVERY_MODEL,
    FRACTION,
    NAME,
    NAMES,
    PATH,
    SEQUENTIAL_MODELS,
    SHARE,
    SWITCH,
    WHOLE,
    Key,
    Kind,
    choice,
    is_amount,
    is_name,
    is_name_mapping,
    is_whole,
    or_auto,
)  # fmt: skip

OBJECTIVES = ("itc", "itm", "mlm", "clce", "supcon", "interaction")
DISTILLED = ("rows", "relations", "itc")
TUNINGS = ("full", "last_k", "lora", "adapter", "multiway", "bitfit", "side")

FILES = Kind("dict", "a mapping from modality to file, such as {image: image_feat.npy, text: text_feat.npy}", is_name_mapping)
ROW_NAMES = Kind(
    "dict or str", "a file that names the rows, or the word row; or a mapping from modality to one of these",
    lambda v: is_name(v) or is_name_mapping(v),
)  # fmt: skip
DECAY = Kind("float", "a number above 0 and at most 1", lambda v: is_amount(v) and 0 < v <= 1)
PAIRS = Kind("int", "a whole number of at least 2, because a batch's items are each other's negatives", lambda v: is_whole(v) and v > 1)


def weights_of(objectives: Sequence[str], example: str) -> Kind:
    """Weights of objectives, such as those of ``example``."""
    return Kind(
        "dict", f"weights that are not negative of some of {', '.join(objectives)}, such as {example}; an objective that is not named has "
        "no weight",
        lambda v: isinstance(v, Mapping) and set(v) <= set(objectives) and all(map(is_amount, v.values())) and any(v.values()),
    )  # fmt: skip


WEIGHTS = weights_of(OBJECTIVES, "{itc: 1, interaction: 0.5}")
DISTIL_WEIGHTS = weights_of(DISTILLED, "{rows: 1, relations: 0.5}")

SECTIONS: dict[str, dict[str, Key]] = {
    "For every model, RecBole's own included": {
        "screen": Key("normal", choice("normal", "quiet", "verbose"), "What a run shows. quiet: the table of results alone. verbose: all "
                      "that the log file has.", EVERY_MODEL),
        "eval_batch_size": Key("auto", or_auto(COUNT), "auto: as many users per batch as four million scores allow, or 64 million on a "
                               "GPU. RecBole's 4096 would mean a single user per batch with 20000 items.", EVERY_MODEL),
        "fast_loop": Key(True, SWITCH, "False: reading, batches, negatives, evaluation and optimiser are RecBole's own. True: the same, by "
                         "quicker ways; only the random draws differ.", EVERY_MODEL),
        "plugins": Key(None, NAMES, "Modules of your own, such as [mine.py, package.module]: their models, encoders and metrics are then "
                       "found by name.", EVERY_MODEL),
        "resume": Key(None, PATH, "A checkpoint to continue from. With our models the result equals that of a run which was never stopped; "
                      "RecBole's trainers do not keep their random states.", EVERY_MODEL),
        "refit": Key(False, SWITCH, "True: once the best epoch is known, the model is trained anew on all interactions for as many "
                     "epochs, and that is the checkpoint. The results stay those of the split.", EVERY_MODEL),
        "mask_valid_items": Key(True, SWITCH, "False: the test masks only a user's training items, as in tables made with MMRec.",
                                EVERY_MODEL),
        "mask_history": Key(False, SWITCH, "For sequential models. True: what a user had before is not ranked. False: it is, as in "
                            "RecBole's own evaluation of them. All other models never rank it.", SEQUENTIAL_MODELS),
        "negative_items": Key("all", choice("all", "training"), "Which items negatives are sampled from: all, or those that have "
                              "interactions in training.", EVERY_MODEL),
        "cold_item_ratio": Key(0, SHARE, "Share of the items that are kept out of training. The test result is then given for warm items, "
                               "for cold items and for all.", EVERY_MODEL),
        "cold_items": Key(None, PATH, "A file that lists the tokens of the cold items instead, one per line.", EVERY_MODEL),
    },
    "For our models": {
        "preset": Key(None, choice("best"), "best: the settings of properties/best/<model>.yaml, which validation chose, in place of the "
                      "published ones in properties/model."),
        "init_from": Key(None, PATH, "A checkpoint of the same model on another catalogue, from which the run starts: all that belongs to "
                         "no single user or item is taken. The features must be made by the same encoder."),
    },
    "The items' pictures and texts, read from <dataset>.item beside RecBole's columns": {
        "image_field": Key("image", NAME, "The column of picture paths, which are relative to image_dir.", may_be_empty=True),
        "image_dir": Key("images", NAME, "The folder of the pictures, relative to the data set's folder.", may_be_empty=True),
        "text_field": Key(["title", "description"], NAMES, "The columns whose texts are joined, in this order.", may_be_empty=True),
        "max_broken_images": Key(0.01, AMOUNT, "The run stops if a larger share of the pictures cannot be read."),
        "cache_dir": Key(None, NAME, "The folder for decoded pictures and encoded features. ~: .recbole_mm beside the data set."),
    },
    "Item features": {
        "modalities": Key(None, NAMES, "Any of image, text, joint (one pass over both) and the modalities of feature_files. ~: all of "
                          "feature_files if there are any, else image and text. []: none, the model uses ids only."),
        "feature_files": Key(None, FILES, "Ready-made features instead of an encoder, such as {image: image_feat.npy, audio: "
                             "audio.parquet}. Paths are relative to the data set's folder."),
        "feature_ids": Key(None, ROW_NAMES, "What names the rows of .npy files: a file of item tokens, or the word row (row i belongs to "
                           "item token i). ~: a file of tokens beside them."),
        "feature_scaling": Key("unit", choice("unit", "none"), "unit: the rows of feature files are brought to length 1, unless they have "
                               "but one number. none: they enter the models as they are in the file."),
        "missing": Key("learned", choice("learned", "mean", "zero", "neighbours"), "What stands for the features of an item without a "
                       "picture (or without a text)."),
        "feature_rank": Key(None, COUNT, "Frozen features with more numbers per item are given by so many principal components; the log "
                            "says how much they keep. ~: as they are."),
        "score_mix": Key(None, or_auto(FRACTION), "For models whose score is the sum of a part by ids and one by content: how much "
                         "content weighs, from 0 (ids alone) to 1 (content alone). auto: what is best on validation, once the model is "
                         "trained. ~: as they are, which ranks as 0.5 does."),
    },
    "The encoder that makes item features": {
        "encoder": Key("open_clip:ViT-B-16-quickgelu@openai", NAME, "backend:name[@tag-or-path], see docs/encoders.md. Without "
                       "\"backend:\", the backend is the model's own.", may_be_empty=True),
        "encoder_image_size": Key(None, COUNT, "Side length of the pictures in pixels, for vlmo, beit3 and timm. ~: the size that the "
                                  "weights were trained at."),
        "encoder_max_patches": Key(None, COUNT, "The largest number of patches of a picture, for encoders whose pictures keep their shape "
                                   "(SigLIP2 NaFlex, Qwen-VL). ~: what the weights' folder says."),
        "encoder_tokenizer": Key(None, NAME, "The tokenizer's file or folder, for vlmo and beit3. ~: the one beside the weights, else it "
                                 "is downloaded."),
        "encoder_prompt": Key(None, NAME, "What st puts before every text: document or query for the prompt that the model has for these, "
                              "the name of another of its prompts, or a prompt of your own. ~: document, since items are documents."),
        "encoder_dim": Key(None, COUNT, "How many of their first numbers the encoder's feature vectors keep; they are then normalised. For "
                           "encoders that were trained for it (Matryoshka). ~: all."),
        "trust_remote_code": Key(False, SWITCH, "True: run Python code that comes with a Hugging Face repository (backends hf, st)."),
        "encoder_precision": Key("fp32", choice("fp32", "bf16"), "The precision in which the encoder computes. bf16 is autocast: weights "
                                 "and features stay fp32."),
        "encoder_chunk_size": Key("auto", or_auto(COUNT), "How many items' activations are kept at once. With more items in a batch, "
                                  "gradients are computed chunk by chunk, equally exact, at the price of a second forward pass. auto: 1024 "
                                  "from random weights and for side, 128 for a pretrained encoder, more with cache_hidden_states."),
        "encoder_compile": Key(False, SWITCH, "True: compile the encoder's blocks by torch.compile. The first epoch becomes slow; measure "
                               "whether the later ones gain."),
        "gradient_checkpointing": Key(False, SWITCH, "True: recompute activations in the backward pass, which takes less memory and more "
                                      "time (finetuned, end2end)."),
        "feature_dtype": Key("fp32", choice("fp32", "fp16"), "The precision in which encoded features are kept on disk."),
    },
    "How the encoder is trained": {
        "encoder_training": Key("end2end", choice("pretrained", "finetuned", "end2end"), "pretrained: the encoder stays as it is. "
                                "finetuned: it is first adapted to the items' pictures and texts. end2end: it trains with the "
                                "recommender."),
        "encoder_tuning": Key("full", choice(*TUNINGS), "Which part of the encoder trains (finetuned, end2end; side only with end2end)."),
        "encoder_last_k": Key(2, COUNT, "The number of blocks that train, counted from the top of each tower. Final norms and "
                              "projections train as well.", "last_k"),
        "cache_hidden_states": Key(False, SWITCH, "With end2end, run the frozen blocks once per item, keep their output on disk (in "
                                   "feature_dtype), and start training from there.", "last_k"),
        "lora_rank": Key(8, COUNT, "The rank of the updates.", "lora"),
        "lora_alpha": Key(16, AMOUNT, "The updates are scaled by lora_alpha / lora_rank.", "lora"),
        "adapter_dim": Key(64, COUNT, "The width of the bottlenecks.", "adapter"),
        "multiway_dim": Key(64, COUNT, "The width of the bottlenecks.", "multiway"),
        "side_dim": Key(64, COUNT, "The width of the bottlenecks of a side network, which reads the stored layers of the frozen "
                        "encoder (in feature_dtype).", "side"),
        "side_noise": Key(0.3, AMOUNT, "Noise on the stored layers in training, in place of augmentation: its standard deviation, in units "
                          "of how much each number differs between items.", "side"),
        "encoder_learning_rate": Key("auto", or_auto(AMOUNT), "auto: 1e-3 from random weights; with pretrained weights 3e-4 for side, "
                                     "1e-4 for lora, adapter, multiway and bitfit, else 1e-5."),
        "encoder_weight_decay": Key(0.01, AMOUNT, "The encoder's own weight decay, decoupled as AdamW's whatever the learner. Norms and "
                                    "biases have none."),
        "layer_decay": Key(1.0, DECAY, "Ratio of the learning rate of an encoder block to that of the block above it. Below 1, lower "
                           "blocks change less."),
        "encoder_warmup_steps": Key(20, WHOLE, "Steps in which the encoder's learning rate rises linearly."),
        "learning_rate_schedule": Key("constant", choice("constant", "cosine"), "How both learning rates go on after the warm-up. cosine: "
                                      "down to 0 at the end of the last epoch."),
        "accumulation_steps": Key(1, COUNT, "Number of batches per step of the optimiser."),
        "encoder_freeze_epochs": Key("auto", or_auto(WHOLE), "Epochs at the start in which only the recommender trains. auto: 0 from "
                                     "random weights; with pretrained weights until the validation no longer improves, or half of the "
                                     "epochs are over, and the encoder then trains over the best recommender so far."),
        "image_augmentation": Key("none", choice("none", "light", "strong"), "With end2end, a training batch has random views of its "
                                  "pictures: cropped, mirrored, recoloured. light: at least .6 of a picture, colours changed by up "
                                  "to a fifth. strong: at least .2, up to two fifths."),
        "token_dropout": Key(0.0, SHARE, "With end2end, the share of its tokens that a text of a training batch loses at random."),
        "weight_average": Key("auto", or_auto(SHARE), "With end2end, validation and checkpoints have a moving average of the weights, of "
                              "which each step keeps this share. 0: the weights of the last step. auto: 0.98 for a pretrained encoder, "
                              "else 0."),
        "refresh_every": Key(1, COUNT, "Graph models with end2end: the features of items outside the batch are encoded anew after so many "
                             "epochs. Every evaluation renews them as well."),
        "strategy": Key("ddp", choice("ddp", "fsdp"), "How several processes hold the encoder (end2end). ddp: each holds all of it. fsdp: "
                        "each holds a share of it."),
    },
    "Fine-tuning before training (encoder_training: finetuned)": {
        "finetune_weights": Key({"itc": 1, "itm": 1, "mlm": 1}, WEIGHTS, "Weights of the objectives itc, itm, mlm, clce, supcon "
                                "and interaction. One that is not named has no weight; those of this default that the encoder lacks "
                                "are left out."),
        "category_field": Key(None, NAME, "clce and supcon: the column of the .item file with each item's category. Every distinct value "
                              "is a class."),
        "finetune_epochs": Key(10, COUNT, "The largest number of passes over the items' pictures and texts."),
        "finetune_batch_size": Key(128, PAIRS, "Items per step. An item's negatives are the other items of its batch."),
        "finetune_learning_rate": Key("auto", or_auto(AMOUNT), "auto: as for encoder_learning_rate. After the warm-up it falls to 0 along "
                                      "half a cosine."),
        "finetune_warmup_steps": Key(20, WHOLE, "Steps in which the learning rate rises linearly."),
        "finetune_valid_ratio": Key(0.1, SHARE, "Share of the items that are held out. Image-text retrieval among them, and with supcon "
                                    "the categories of their nearest items, select the epoch. 0: none are held out, and all epochs run."),
        "finetune_stopping_step": Key(3, WHOLE, "Fine-tuning stops after more epochs than this without better results on "
                                      "the held-out items."),
    },
    "Distilling a teacher's encoder into a student's (recbole-mm distil)": {
        "distil_weights": Key({"rows": 1, "relations": 1, "itc": 0.1}, DISTIL_WEIGHTS, "Weights of the objectives "
                              "rows (the teacher's feature vectors), relations (how near the items of a batch are to each "
                              "other) and itc (pictures and texts find each other). One of this default that the student lacks is left "
                              "out."),
        "distil_prune_by": Key("ablation", choice("ablation", "first_order"), "Which blocks go with --prune. ablation: one after another, "
                               "those without which feature vectors change least. first_order: those of the least importance to first "
                               "order (|dL/dw * w|), which takes one backward pass. Hidden units always go by the latter."),
        "distil_epochs": Key(10, COUNT, "The largest number of passes over the items' pictures and texts."),
        "distil_batch_size": Key(32, PAIRS, "Items per step. Relations are those of the items of a batch."),
        "distil_learning_rate": Key("auto", or_auto(AMOUNT), "auto: 1e-3 from random weights, else 3e-4. After the warm-up it falls to 0 "
                                    "along half a cosine."),
        "distil_warmup_steps": Key(20, WHOLE, "Steps in which the learning rate rises linearly."),
        "distil_valid_ratio": Key(0.1, SHARE, "Share of the items that are held out. How many of their nearest items are the teacher's, "
                                  "and image-text retrieval, select the epoch. 0: none are held out, and all epochs run."),
        "distil_stopping_step": Key(3, WHOLE, "Distilling stops after more epochs than this without better results on the held-out items."),
    },
}  # fmt: skip

KEYS: dict[str, Key] = {name: key for section in SECTIONS.values() for name, key in section.items()}
TUNING_KEYS: dict[str, str] = {name: key.belongs_to for name, key in KEYS.items() if key.belongs_to in TUNINGS}
"""The keys that one ``encoder_tuning`` alone reads, and which that is."""
