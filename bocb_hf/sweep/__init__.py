"""Sweeps: plans, the tuning rule, workers and floors; may import ``engine`` and what lies below it."""
