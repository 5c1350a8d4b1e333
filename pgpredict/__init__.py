"""Machine learning where the data lives: the command line, the local server and the runtime."""

import os

# ONNX Runtime's wheels report machine and models to their makers unless this is set before they are loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.2.0"
