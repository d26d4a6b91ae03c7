"""The process of one cell: ``python -m recbole_mm.results.compare.cell_process <folder>``, which ends when its standard input does."""

import os
import sys
import threading
import traceback
from pathlib import Path

from recbole_mm.errors import InputError


def main(folder: str) -> int:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from recbole_mm.results.compare.cells import run_cell

    try:
        run_cell(Path(folder))
    except (InputError, OSError) as error:
        print(f"error: {error}", flush=True)
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _end_with_parent() -> None:
    """The parent holds the other end of the standard input for as long as it lives."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
