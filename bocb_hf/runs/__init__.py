"""Runs: what a run is, from its configuration to its record and card; may import ``optim`` and the package's top."""
