"""Small tables of orders and products, written in the ways of a test, and what ``prepare`` makes of them."""

from pathlib import Path

import pandas as pd
import yaml

from recbole_mm.data.atomic_file import read_atomic_file
from recbole_mm.data.prepare.options import parse
from recbole_mm.data.prepare.pipeline import prepare
from recbole_mm.data.prepare.summary import Summary


class Prepared:
    """A data set that was just prepared from the files of a folder, which hold a table of orders and, if there is one, of products."""

    def __init__(self, folder: Path, orders: str | bytes, products: str | bytes | None, *arguments: str, kind: str = "csv") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / "out" / "shop"
        write(folder / f"orders.{kind}", orders)
        self.arguments = [f"--interactions={folder / f'orders.{kind}'}", f"--output={self.output}", "--overwrite", *arguments]
        if products is not None:
            write(folder / f"products.{kind}", products)
            self.arguments.append(f"--items={folder / f'products.{kind}'}")

    def make(self) -> "Prepared":
        self.summary: Summary = prepare(parse(self.arguments))
        return self

    @property
    def inter(self) -> pd.DataFrame:
        table = pd.read_csv(self.output / "shop.inter", sep="\t", dtype=str, keep_default_na=False)
        return table.rename(columns=lambda column: column.split(":")[0])

    @property
    def items(self) -> dict[str, list[str]]:
        return read_atomic_file(self.output / "shop.item").columns

    @property
    def titles(self) -> dict[str, str]:
        return dict(zip(self.items["item_id"], self.items["title"], strict=True))

    @property
    def settings(self) -> dict:
        return yaml.safe_load((self.output / "shop.yaml").read_text())

    def use(self, table: int = 0) -> tuple[dict[str, str], list[str]]:
        """The columns of a table that were used, and those that were not."""
        return self.summary.tables[table].used, self.summary.tables[table].not_used


def write(file: Path, content: str | bytes) -> None:
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def rows(header: str, *lines: str) -> str:
    return "\n".join([header, *lines]) + "\n"
