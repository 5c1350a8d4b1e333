"""Training, conversion, verification and scoring of models.

Only what serving needs may be imported by ``onnx_models.signature`` and ``onnx_models.scoring``:
scikit-learn and skl2onnx take 1.6 s and 124 MB, and the runtime never imports them.
"""
