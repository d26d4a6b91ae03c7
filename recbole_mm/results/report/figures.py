"""Figures for plotly.js, as plain dictionaries. A colour such as ``--c1`` is a property of the page's style sheet, which the page's script
puts in, so that figures follow the theme. Texts that come from data are escaped, since plotly.js reads some HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

import pandas as pd

from recbole_mm.results.report.curves import Curve
from recbole_mm.results.report.maps import ItemMap

Figure = dict
COLOURS = tuple(f"--c{place}" for place in range(1, 9))
ROW, HEAD = 26, 70
"""Pixels of a row of a plot with names on the left, and of what is around its rows."""


def lines(found: Mapping[str, Curve], title: str, best: int | None = None) -> Figure:
    """Curves over epochs.

    Args:
        best: the epoch to mark.
    """
    data = [
        {"type": "scatter", "mode": "lines" if len(x) > 1 else "markers", "name": escape(name), "x": x, "y": y,
         "line": {"color": COLOURS[place % 8], "width": 2}}
        for place, (name, (x, y)) in enumerate(found.items())
    ]  # fmt: skip
    marks = {} if best is None else {
        "shapes": [{"type": "line", "x0": best, "x1": best, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "--muted", "width": 1,
                                                                                                     "dash": "dot"}}],
        "annotations": [{"x": best, "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False, "text": f"best: {best}",
                         "font": {"size": 11, "color": "--muted"}}],
    }  # fmt: skip
    layout = {"xaxis": {"title": {"text": "epoch"}, "rangemode": "tozero"}, "yaxis": {"title": {"text": escape(title)}},
              "showlegend": len(data) > 1, "height": 290, **marks}  # fmt: skip
    return {"data": data, "layout": layout}


def dots(rows: pd.DataFrame, metric: str) -> Figure:
    """A dot per row with its interval, names on the left; dots of one colour belong together. Dots of the same name stand a little apart.

    Args:
        rows: the columns ``name``, ``group``, ``value``, ``low``, ``high`` and ``text``, what is shown on hovering.
    """
    data, beside = [], bool(rows["name"].duplicated().any())
    for place, (group, own) in enumerate(rows.groupby("group", sort=False)):
        data.append({
            "type": "scatter", "mode": "markers", "orientation": "h", "name": escape(str(group)), "x": own["value"].tolist(),
            "y": _texts(own["name"]), "text": _texts(own["text"]), "hoverinfo": "text",
            "marker": {"color": COLOURS[place % 8], "size": 9},
            "error_x": {"type": "data", "symmetric": False, "array": (own["high"] - own["value"]).fillna(0).tolist(),
                        "arrayminus": (own["value"] - own["low"]).fillna(0).tolist(), "color": COLOURS[place % 8], "thickness": 1.5,
                        "width": 4},
        })  # fmt: skip
    names, legend = list(dict.fromkeys(_texts(rows["name"]))), rows["group"].nunique() > 1
    layout = {
        "xaxis": {"title": {"text": escape(metric)}, "rangemode": "tozero"},
        "yaxis": {"categoryorder": "array", "categoryarray": names, "autorange": "reversed", "ticksuffix": "  "},
        "showlegend": legend, "height": HEAD + round(ROW * len(names) * (1 + 0.3 * beside * (len(data) - 1))) + 30 * legend,
        **({"scattermode": "group", "scattergap": 0.5} if beside else {}),
    }  # fmt: skip
    return {"data": data, "layout": layout}


def differences(rows: pd.DataFrame, metric: str) -> Figure:
    """Bars of relative differences with their intervals: a group per modality, a colour per replacement.

    Args:
        rows: what ``KnockOut.table`` gives of one metric.
    """
    data = []
    for place, (by, own) in enumerate(rows.groupby("replaced_by", sort=False)):
        scale = (own["relative"] / own["difference"]).where(own["difference"] != 0)
        high, low = ((own["high"] - own["difference"]) * scale * 100), ((own["difference"] - own["low"]) * scale * 100)
        data.append({
            "type": "bar", "name": escape(by), "x": _texts(own["modality"]), "y": (100 * own["relative"]).fillna(0).tolist(),
            "text": [escape(f"{value:.4f} ({difference:+.4f})") for value, difference in zip(own["value"], own["difference"], strict=True)],
            "hoverinfo": "text+name", "textposition": "none", "marker": {"color": COLOURS[place % 8]},
            "error_y": {"type": "data", "symmetric": False, "array": high.fillna(0).tolist(), "arrayminus": low.fillna(0).tolist(),
                        "color": "--ink", "thickness": 1.2, "width": 4},
        })  # fmt: skip
    layout = {"barmode": "group", "yaxis": {"title": {"text": escape(f"{metric}, change in %")}}, "height": 320, "showlegend": True}
    return {"data": data, "layout": layout}


def bars(values: Mapping[str, float], title: str) -> Figure:
    """A bar per name, lying."""
    names = [escape(name) for name in values]
    data = [{"type": "bar", "orientation": "h", "x": list(values.values()), "y": names, "marker": {"color": "--c1"}, "hoverinfo": "x+y"}]
    layout = {"xaxis": {"title": {"text": escape(title)}}, "height": HEAD + 34 * len(names), "showlegend": False, "bargap": 0.45,
              "yaxis": {"automargin": True, "categoryorder": "array", "categoryarray": names[::-1], "ticksuffix": "  "}}  # fmt: skip
    return {"data": data, "layout": layout}


def scatter(names: Sequence[str], x: Sequence[float], y: Sequence[float], x_title: str, y_title: str) -> Figure:
    """A named point each, on a logarithmic x axis. Names stand above and below their points by turns, from left to right."""
    turns = {place: turn for turn, place in enumerate(sorted(range(len(x)), key=x.__getitem__))}
    positions = ["top center" if turns[place] % 2 == 0 else "bottom center" for place in range(len(x))]
    low, high = log10(min(x)), log10(max(x))
    edge = max(0.15, 0.2 * (high - low))
    ticks = [digit * 10**power for power in range(floor(low - edge), ceil(high + edge)) for digit in (1, 2, 5)]
    data = [{"type": "scatter", "mode": "markers+text", "x": list(x), "y": list(y), "text": _texts(names), "textposition": positions,
             "textfont": {"size": 11}, "hoverinfo": "text+x+y", "marker": {"color": "--c1", "size": 11}, "cliponaxis": False}]  # fmt: skip
    axis = {"title": {"text": escape(x_title)}, "type": "log", "range": [low - edge, high + edge], "tickvals": ticks,
            "ticktext": [f"{tick:,.10g}" for tick in ticks]}  # fmt: skip
    return {"data": data, "layout": {"xaxis": axis, "yaxis": {"title": {"text": escape(y_title)}}, "height": 400, "showlegend": False}}


def item_map(found: ItemMap) -> Figure:
    """A point per item."""
    marker = {"size": 6, "opacity": 0.75}
    if found.coloured_by is None:
        bar = {"title": {"text": "training interactions", "side": "right"}, "thickness": 10, "outlinewidth": 0}
        marker |= {"color": found.colours, "colorscale": [[0, "--low"], [1, "--accent"]], "showscale": True, "colorbar": bar}
        groups = [("items", list(range(len(found.titles))), marker)]
    else:
        names = sorted(set(found.colours), key=lambda name: (name == "other", -found.colours.count(name), name))
        colours = {name: "--muted" if name == "other" else COLOURS[place % 8] for place, name in enumerate(names)}
        places = {name: [place for place, own in enumerate(found.colours) if own == name] for name in names}
        groups = [(name, places[name], {**marker, "color": colours[name]}) for name in names]
    data = [
        {"type": "scatter", "mode": "markers", "name": escape(name), "marker": own, "hoverinfo": "text",
         "x": found.places[chosen, 0].round(4).tolist(), "y": found.places[chosen, 1].round(4).tolist(),
         "text": [found.titles[place] for place in chosen]}
        for name, chosen, own in groups
    ]  # fmt: skip
    axis = {"showticklabels": False, "zeroline": False, "ticks": ""}
    layout = {"xaxis": axis, "yaxis": dict(axis), "height": 420, "showlegend": len(data) > 1, "hovermode": "closest"}
    return {"data": data, "layout": layout}


def _texts(values: Sequence) -> list[str]:
    return [escape(str(value)) for value in values]
