"""Coupling: pure functions from records to tables and tests; may import ``backbones``, ``data`` and what lies below.

Nothing here needs torch or pandas, and only ``published`` reads files.
"""
