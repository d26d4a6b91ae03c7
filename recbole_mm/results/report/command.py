"""The command ``report``."""

import argparse
from pathlib import Path

from recbole_mm.config.plugins import load_plugins
from recbole_mm.errors import InputError
from recbole_mm.results.report.comparison_report import comparison_report
from recbole_mm.results.report.page import write_page
from recbole_mm.results.report.run_report import run_report


def report(arguments: argparse.Namespace, _: list[str]) -> int:
    """Writes the report of a checkpoint or of a comparison."""
    source, output = Path(arguments.source), Path(arguments.output)
    if output.suffix not in (".html", ".htm"):
        raise InputError(f"--output={output} must end in .html")
    load_plugins(arguments.plugins.split(",") if arguments.plugins else None)
    against = Path(arguments.against) if arguments.against else None
    if source.is_dir():
        if against:
            raise InputError(f"--against={against} stands beside a checkpoint, and {source} is the folder of a comparison")
        found = comparison_report(source, show_progress=True)
    else:
        found = run_report(source, against, arguments.knockout, show_progress=True)
    write_page(output, found.context())
    print(f"{output}: {found.title}, {output.stat().st_size / 1e6:.1f} MB")
    return 0
