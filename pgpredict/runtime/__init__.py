"""The resident inference process: it holds the models, the wrapper sends it rows.

A supervisor (:mod:`.supervisor`) owns the socket and watches one worker (:mod:`.worker`), which serves
each connection in a thread of its own (:mod:`.server`). Nothing here imports scikit-learn or skl2onnx.
"""

from .client import RuntimeClient
from .settings import RuntimeSettings, default_socket

__all__ = ["RuntimeClient", "RuntimeSettings", "default_socket"]
