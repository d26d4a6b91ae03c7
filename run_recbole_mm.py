"""RecBole's run script, with items that have pictures and words: python run_recbole_mm.py --model=CLIPRec --dataset=demo"""

import sys

from recbole_mm.cli import main_run

if __name__ == "__main__":
    sys.exit(main_run())
