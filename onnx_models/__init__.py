"""Training, conversion, verification and scoring of models.

Only what serving needs may be imported by ``onnx_models.signature`` and ``onnx_models.scoring``:
scikit-learn and skl2onnx take 1.6 s and 124 MB, and the runtime never imports them.
"""

import os

# ONNX Runtime's wheels report machine and models to their makers unless this is set before they are loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
