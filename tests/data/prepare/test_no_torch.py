"""``prepare`` starts quickly: it needs neither torch nor RecBole."""

import subprocess
import sys


def test_prepare_imports_neither_torch_nor_recbole():
    code = "import sys; sys.modules['torch'] = sys.modules['recbole'] = None; import recbole_mm.data.prepare.pipeline"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
