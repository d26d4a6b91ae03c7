"""The HTML file of a report: the template with style sheet, script and plotly.js in it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from recbole_mm.disk import write_whole

TEMPLATE = Path(__file__).parent / "template"


def write_page(file: Path, context: Mapping[str, object]) -> None:
    """Renders the template and writes it.

    Args:
        context: what ``template/report.html.j2`` shows.
    """
    style, script = ((TEMPLATE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    text = _environment().get_template("report.html.j2").render(**context, style=style, script=script, plotly=get_plotlyjs())
    write_whole(file, lambda new: new.write_text(text, encoding="utf-8"))


@cache
def _environment() -> Environment:
    found = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    return found
