"""``prepare`` starts quickly: it needs neither torch nor RecBole."""

import subprocess
import sys


def test_prepare_imports_neither_torch_nor_recbole():
    code = "import sys, recbole_mm.data.prepare.pipeline; sys.exit('torch' in sys.modules or 'recbole' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
