"""The commands that use a trained model."""

from recbole_mm.commands.command import CHECKPOINT, PLUGINS, Command, later

MODEL = {
    "checkpoint": {"help": "the checkpoint of a run, saved/<model>-<dataset>-<time>-<process>.pth, or an exported folder"},
    "--k": {"type": int, "default": 10, "help": "how many items; default: 10"},
    **PLUGINS,
}
SERVING = {
    "recommend": Command(
        later("recbole_mm.serving.commands", "recommend"),
        "recommend items to users, from a checkpoint",
        "Recommend items to users by the model of a checkpoint, without those that they have already. Under torchrun, the processes share "
        "the users.",
        {
            **MODEL,
            "--users": {"help": "a file with one user per line; default: all users", "metavar": "FILE"},
            "--candidates": {"help": "a file with one item per line: the only ones to recommend", "metavar": "FILE"},
            "--include-seen": {"action": "store_true", "help": "also recommend what the user has"},
            "--output": {"help": "a .csv or .parquet file that gets the columns user, item, rank, score", "metavar": "FILE"},
        },
        rest="none",
    ),
    "similar": Command(
        later("recbole_mm.serving.commands", "similar"),
        "list the items most like one, from a checkpoint",
        "List the items that are most like one: by the model, which knows who takes them, or by their pictures or texts.",
        {
            **MODEL,
            "--item": {"required": True, "help": "the item", "metavar": "TOKEN"},
            "--by": {"default": "model", "help": "model, or a modality such as image or text; default: model"},
        },
        rest="none",
    ),
    "search": Command(
        later("recbole_mm.serving.commands", "search"),
        "find items by words or by a picture, from a checkpoint",
        "Find the items that fit words or a picture, by the encoder of a checkpoint's run.",
        {
            **MODEL,
            "--text": {"help": "what to look for, in words"},
            "--image": {"help": "a picture of what to look for", "metavar": "FILE"},
        },
        rest="none",
    ),
    "export": Command(
        later("recbole_mm.serving.commands", "export"),
        "write a checkpoint's model as a folder that recommends by itself",
        "Write the model of a checkpoint as a folder that recommends by itself, without the data set: vectors, tokens, and what each user "
        "has, as safetensors and Parquet. Under torchrun, the processes share the users.",
        {
            "checkpoint": CHECKPOINT,
            "--output": {"required": True, "help": "the folder to write; one that was exported before is replaced", "metavar": "FOLDER"},
            "--with-encoder": {
                "action": "store_true",
                "help": "with the encoder: for searches, and for new pictures and texts",
            },
            "--index": {
                "choices": ["flat", "hnsw"],
                "default": "flat",
                "help": "the FAISS index of the items' vectors: flat looks at every item, hnsw finds .95 of the best or more, and is what "
                "recommendations then go by; default: flat",
            },
            **PLUGINS,
        },
        rest="none",
    ),
    "serve": Command(
        later("recbole_mm.serving.service.serve", "serve", extra="serve"),
        "answer over HTTP from an exported folder",
        "Answer over HTTP from an exported folder: recommendations, similar items, search, and a page for people at /. Items can be added "
        "and removed by whoever sends the API key, which is read from the environment variable RECBOLE_MM_API_KEY or from a file; nobody "
        "can without one.",
        {
            "folder": {"help": "the folder that recbole-mm export has written"},
            "--host": {"default": "127.0.0.1", "help": "the address to listen at; default: 127.0.0.1, for this machine alone"},
            "--port": {"type": int, "default": 8000, "help": "the port to listen at, 0 for any that is free; default: 8000"},
            "--workers": {"type": int, "default": 1, "help": "how many processes answer; default: 1"},
            "--api-key-file": {"help": "a file with the API key", "metavar": "FILE"},
            "--verbose": {"action": "store_true", "help": "log one line per request"},
            **PLUGINS,
        },
        rest="none",
    ),
}
