"""The known kinds of source: where their files are, what their columns mean, and what is peculiar to them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """A file of a source.

    Attributes:
        pattern: a glob pattern below the input folder.
        but: a pattern of names that are not meant.
        columns: the names of the columns, for a file without a header.
        delimiter: what separates the cells; None to find out.
        quote: what quotes cells; "" if quotes have no meaning.
        encoding: None for UTF-8.
        python: whether lines may be Python dicts instead of JSON.
    """

    pattern: str
    but: str = ""
    columns: tuple[str, ...] = ()
    delimiter: str | None = None
    quote: str = '"'
    encoding: str | None = None
    python: bool = False


Text = Callable[[str], str]


@dataclass(frozen=True)
class Source:
    """A kind of source. Columns that are None or () are found by common names.

    Attributes:
        about: a line for ``--help``.
        interactions, items: how the files may look.
        pictures: patterns of the folder of pictures.
        user, item, time, rating: columns of the interactions.
        item_key: the column of the item in the item table.
        text: text columns of the item table; the first that exists becomes the title, the others the description.
        clean: what rewrites the cells of a text column, by column.
        extra: further columns of the item file: header cell -> the column they come from, and what makes their cells of its cells.
    """

    about: str
    interactions: tuple[Layout, ...]
    items: tuple[Layout, ...] = ()
    pictures: tuple[str, ...] = ("images", "image", "pictures", "covers", "cover", "posters", "poster")
    user: str | None = None
    item: str | None = None
    time: str | None = None
    rating: str | None = None
    item_key: str | None = None
    text: tuple[str, ...] = ()
    clean: Mapping[str, Text] = field(default_factory=dict)
    extra: Mapping[str, tuple[str, Text]] = field(default_factory=dict)


_YEAR = re.compile(r"\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$")


def _without_year(title: str) -> str:
    return _YEAR.sub("", title)


def _year(title: str) -> str:
    found = _YEAR.search(title)
    return found.group(1) if found else ""


def _genres(cell: str) -> list[str]:
    return [genre.strip() for genre in cell.split("|") if genre.strip() not in ("", "(no genres listed)")]


def _patterns(*patterns: str, **options) -> tuple[Layout, ...]:
    return tuple(Layout(pattern, **options) for pattern in patterns)


SOURCES: dict[str, Source] = {
    "files": Source(
        "your own tables: interactions.* and items.* (csv, tsv, jsonl, parquet; also .gz), pictures in images/",
        _patterns("interactions.*", "*.inter"),
        _patterns("items.*", "*.item"),
    ),
    "amazon-2023": Source(
        "Amazon Reviews 2023: <Category>.jsonl[.gz], meta_<Category>.jsonl[.gz], pictures named by parent_asin",
        _patterns("*.jsonl", "*.jsonl.gz", but="meta_*"),
        _patterns("meta_*.jsonl", "meta_*.jsonl.gz"),
        user="user_id", item="parent_asin", time="timestamp", rating="rating", item_key="parent_asin",
        text=("title", "store", "categories", "features", "description"),
    ),
    "amazon-2014": Source(
        "Amazon reviews 2014 (and 2018): reviews_<Category>.json.gz, meta_<Category>.json.gz, pictures named by asin; or see mmrec",
        _patterns("reviews_*.json", "reviews_*.json.gz", "*.json", "*.json.gz", but="meta_*", python=True),
        _patterns("meta_*.json", "meta_*.json.gz", python=True),
        user="reviewerID", item="asin", time="unixReviewTime", rating="overall", item_key="asin",
        text=("title", "brand", "categories", "category", "feature", "description"),
    ),
    "mmrec": Source(
        "an MMRec folder: <name>.inter with x_label, *.npy features by item number, i_id_mapping.csv, u_id_mapping.csv",
        _patterns("*.inter", delimiter="\t", quote=""),
        _patterns("items.*"),
        user="userID", item="itemID", rating="rating", time="timestamp",
        text=("title", "name", "brand", "categories", "tags", "description", "text"),
    ),
    "unisrec": Source(
        "a UniSRec or MISSRec folder: <name>.train.inter, .valid.inter, .test.inter with item_id_list, .text, .feat1CLS, .item2index",
        _patterns("*.train.inter", delimiter="\t", quote=""),
        _patterns("*.text", delimiter="\t", quote=""),
        user="user_id", item="item_id", item_key="item_id",
        text=("text",),
    ),
    "movielens": Source(
        "MovieLens: ratings.csv, movies.csv (or ratings.dat, movies.dat), posters named by movieId",
        (
            Layout("ratings.csv"),
            Layout("ratings.dat", columns=("userId", "movieId", "rating", "timestamp"), delimiter="::", quote=""),
        ),
        (
            Layout("movies.csv"),
            Layout("movies.dat", columns=("movieId", "title", "genres"), delimiter="::", quote="", encoding="latin-1"),
        ),
        user="userId", item="movieId", time="timestamp", rating="rating", item_key="movieId",
        text=("title", "genres"),
        clean={"title": _without_year, "genres": lambda cell: ", ".join(_genres(cell))},
        extra={"release_year:token": ("title", _year), "genres:token_seq": ("genres", lambda cell: " ".join(_genres(cell)))},
    ),
    "pixelrec": Source(
        "PixelRec: Pixel<size>.csv (item_id, user_id, timestamp), the item info csv, covers <item_id>.jpg",
        _patterns("pixelrec_interaction/*.csv", "Pixel*.csv", "*nteraction*.csv", but="*nfo*"),
        _patterns("pixelrec_iteminfo/*.csv", "*item*info*.csv", "*nfo*.csv"),
        user="user_id", item="item_id", time="timestamp", item_key="item_id",
        text=("title", "tag", "description"),
    ),
    "microlens": Source(
        "MicroLens: MicroLens-<size>_pairs.csv (user, item, timestamp), _titles.csv (item, title), covers <item>.jpg",
        _patterns("*_pairs.csv"),
        _patterns("*_titles.csv", "*_title*.csv"),
        pictures=("covers", "*_covers", "images"),
        user="user", item="item", time="timestamp", item_key="item",
        text=("title",),
    ),
}  # fmt: skip
