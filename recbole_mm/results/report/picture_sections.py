"""The sections with pictures: what a model recommends, and what it knows of the items."""

from collections.abc import Sequence

from recbole_mm.results.report import figures
from recbole_mm.results.report.items import FEW, cold_items, misses, neighbours
from recbole_mm.results.report.loaded_run import LoadedRun
from recbole_mm.results.report.maps import item_maps
from recbole_mm.results.report.people import TOP, judged_by, people
from recbole_mm.results.report.pictures import Pictures
from recbole_mm.results.report.sections import Block, Section


def picture_sections(runs: Sequence[LoadedRun], names: Sequence[str], pictures: Pictures) -> list[Section]:
    """What the first model recommends, and its items; users are shown for all of the models."""
    run = runs[0]
    seen, k = judged_by(run), len(next(iter(run.recommended.values())))
    users = Section(
        "users", "Users",
        f"Users whom {names[0]} serves well, and users whom it serves badly, drawn from the best and the worst quarter by {seen}. Above, "
        f"what each had before the test, the latest first; then what they took in the test; below, the top {TOP} that the model "
        "recommended without knowing that. A green frame marks what was right."
        + (" The test ranks among candidates that are drawn for each user, and so do these lists." if run.draws_candidates else "")
        + (" Of users with a ranking for each item of the test, the first is shown." if (run.users["rankings"] > 1).any() else ""),
        [Block("people", people(runs, names, pictures))],
    )  # fmt: skip
    near = Section(
        "neighbours", "Similar items",
        "What the model takes for similar. By picture and by text, items are near that look or read alike to the encoder; by the trained "
        "vector, those that the same users take. Where the last row differs from the others, the model has learned something that is not "
        "in the content.",
        [Block("neighbours", neighbours(run, pictures))],
    )  # fmt: skip
    missed = misses(run, pictures)
    bad = Section(
        "misses", "Worst misses",
        f"Test items that were not in the top {k} although the user had much like them: of all misses, those whose item has the highest "
        "mean cosine to the three of the user's earlier items that are nearest to it. What goes wrong here could have been right by "
        "content alone.",
        [Block("misses", missed)] if missed else [],
    )  # fmt: skip
    cold = cold_items(run, pictures)
    said = f"Of {cold.n:,} test interactions with such items, {cold.n_found:,} were in the top {k}" \
           + (f" ({cold.n_found / cold.n:.0%})." if cold.n else ".")  # fmt: skip
    cold_section = Section(
        "cold", "Cold items",
        f"Items with at most {FEW} interactions in training that were recommended to somebody who then took them. Nobody's behaviour tells "
        f"the model much about them: what it knows comes from pictures and texts. {said}",
        [Block("cards", cold.items)] if cold.items else [Block("note", "None was found.")] if cold.n else [],
    )  # fmt: skip
    maps = item_maps(run, pictures)
    coloured = maps[0].coloured_by if maps else None
    map_section = Section(
        "map", "A map of the items",
        "Each point is an item, placed by the two directions in which the vectors differ most (PCA). "
        + (f"Colours are by the column “{coloured}” of the item file. " if coloured else "The stronger the colour, the more often "
           "the item was taken in training. ")
        + "Groups of one colour mean that the vectors know it. Titles are shown on hovering or tapping.",
        [Block("figure", figures.item_map(found), f"by {found.by}, {found.explained:.0%} of the variance", half=True) for found in maps],
    )  # fmt: skip
    return [users, near, bad, cold_section, map_section]
