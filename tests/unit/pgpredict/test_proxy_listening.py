"""What a proxy needs of its machine before it listens."""

from __future__ import annotations

import subprocess
import sys

import pytest

# in a process of its own: limits are the whole process's
PROGRAM = """
import logging, resource
from pgpredict.proxy.listening import allow_descriptors
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))
allow_descriptors({wanted})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("wanted", "limits", "warned"), [(32, "64 300", False), (200, "200 300", False), (500, "300 300", True)]
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(wanted: int, limits: str, warned: bool) -> None:
    command = [sys.executable, "-c", PROGRAM.format(wanted=wanted)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == limits
    assert ("few_file_descriptors" in done.stderr) == warned
