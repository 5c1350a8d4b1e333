"""Measurements: ours and the alternative in the same run, and the ratio between them."""
