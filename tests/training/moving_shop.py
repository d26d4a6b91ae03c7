"""A shop whose tables change between training and use: rows move, users and items come and go."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_mm.quick_start import load_data_and_model, run
from recbole_mm.testing.planted import settings

BY_TIME = {"order": "TO", "group_by": "user", "split": {"RS": [0.6, 0.2, 0.2]}, "mode": "full"}
"""A split that does not follow the order of the rows."""
FIELDS = {"inter": ["user_id", "item_id", "timestamp"]}
OLD_USERS, OLD_ITEMS = [f"u{u}" for u in range(12)], [f"i{i}" for i in range(20)]


@dataclass(frozen=True)
class Shop:
    """Orders (user, item, time), and the category of every product."""

    folder: Path
    orders: tuple[tuple[str, str, int], ...]
    products: dict[str, str] = field(default_factory=dict)

    def with_orders(self, *orders: tuple[str, str, int]) -> "Shop":
        products = self.products | {item: f"c{len(item) % 3}" for _, item, _ in orders if item not in self.products}
        return replace(self, orders=(*self.orders, *orders), products=products)

    def without(self, *items: str) -> "Shop":
        products = {item: category for item, category in self.products.items() if item not in items}
        return replace(self, orders=tuple(order for order in self.orders if order[1] not in items), products=products)

    def shuffled(self, seed: int = 1) -> "Shop":
        rng = np.random.default_rng(seed)
        orders, products = list(self.orders), list(self.products.items())
        rng.shuffle(orders)
        rng.shuffle(products)
        return replace(self, orders=tuple(tuple(order) for order in orders), products=dict(map(tuple, products)))

    def write(self) -> "Shop":
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = ["user_id:token\titem_id:token\ttimestamp:float\trating:float"]
        rows += [f"{user}\t{item}\t{time}\t{1 + time % 5}" for user, item, time in self.orders]
        (self.folder / "shop.inter").write_text("\n".join(rows) + "\n")
        words = {"c0": "red cup", "c1": "blue lamp", "c2": "green chair"}
        rows = [f"{item}\t{words.get(category, 'thing')} {item}\t{category}" for item, category in self.products.items()]
        (self.folder / "shop.item").write_text("\n".join(["item_id:token\ttitle:token_seq\tcategory:token", *rows]) + "\n")
        return self


def draw_shop(folder: Path, seed: int = 0) -> Shop:
    """12 users with 10 of 20 products each."""
    rng = np.random.default_rng(seed)
    orders = [(u, OLD_ITEMS[i]) for u in OLD_USERS for i in rng.permutation(20)[:10]]
    rng.shuffle(orders)
    products = {item: f"c{i % 3}" for i, item in enumerate(OLD_ITEMS)}
    return Shop(folder / "shop", tuple((str(u), str(i), t) for t, (u, i) in enumerate(orders)), products).write()


def quick(shop: Shop, **keys) -> dict:
    """Settings of one epoch over texts that a frozen encoder reads."""
    given = {"epochs": 1, "modalities": ["text"], "encoder_training": "pretrained", "eval_args": BY_TIME, "load_col": FIELDS, "topk": [5],
             "valid_metric": "Recall@5"}  # fmt: skip
    return settings(shop.folder, **{**given, **keys})


def train(model: str, shop: Shop, **keys) -> Path:
    """The checkpoint of a run under ``quick``."""
    run(model, "shop", config_dict=quick(shop, **keys))
    return newest(model)


def newest(model: str) -> Path:
    return max(Path("saved").glob(f"{model}-shop-*.pth"), key=lambda file: file.stat().st_mtime_ns)


@dataclass
class Loaded:
    """A run that came back from its checkpoint."""

    config: object
    model: torch.nn.Module
    dataset: object
    parts: tuple

    @classmethod
    def of(cls, file: Path) -> "Loaded":
        config, model, dataset, *parts = load_data_and_model(str(file))
        return cls(config, model.eval(), dataset, tuple(parts))

    @torch.no_grad()
    def scores(self, users: list[str], items: list[str]) -> torch.Tensor:
        """(n_users, n_items), by token. A sequential model sees everybody after the same purchases; one that scores pairs, one by one."""
        of_users, of_items = (self.dataset.token2id(kind, tokens) for kind, tokens in (("user_id", users), ("item_id", items)))
        asked = {"user_id": torch.from_numpy(of_users)}
        if self.config["MODEL_TYPE"].name == "SEQUENTIAL":
            seen = torch.from_numpy(self.dataset.token2id("item_id", OLD_ITEMS[5:9]))
            row = torch.nn.functional.pad(seen, (0, self.config["MAX_ITEM_LIST_LENGTH"] - len(seen)))
            asked |= {"item_id_list": row.repeat(len(users), 1), "item_length": torch.full((len(users),), len(seen))}
        if self.config["MODEL_TYPE"].name == "CONTEXT":
            pairs = {"user_id": asked["user_id"].repeat_interleave(len(items)), "item_id": torch.from_numpy(of_items).repeat(len(users))}
            return self.model.predict(self.dataset.join(Interaction(pairs))).view(len(users), -1)
        return self.model.full_sort_predict(Interaction(asked)).view(len(users), -1)[:, of_items]
