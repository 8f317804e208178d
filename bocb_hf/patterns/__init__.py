"""Patterns: what training left in weights, and what that predicts; may import ``coupling`` and what lies below.

``measure.py`` is the instrument, ``checkpoints.py`` finds what it is pointed at, and ``prediction.py`` asks whether a
pattern, the sharpness or the early curve says more of a cell than its backbone and its optimizer do. Importing these
needs no torch; ``network.py``, which builds the untrained network to compare with, does.
"""
