"""Sweeps: a plan in YAML, the tuning rule, and the executors that run it."""
