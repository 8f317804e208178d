"""Training: one loop, its schedule, evaluation, resume state and export. Needs the extra ``train``."""
