"""Sweeps: plans, the tuning rule, workers and floors; may import ``engine``, ``results`` and what lies below."""
