"""What a gateway may not load to serve a request."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("scipy", "numpy", "matplotlib", "pandas", "torch", "tqdm", "sim", "bench")


@pytest.mark.parametrize("module", ["server.app", "strategies", "core.stopping.names", "core.calibration"])
def test_the_request_path_stands_on_light_libraries(module):
    """Importing it brings in no numerical library, and nothing of the simulator or the harness."""
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
