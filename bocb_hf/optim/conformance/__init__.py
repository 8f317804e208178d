"""Checks that an optimizer is what its row says. This package belongs to ``optim`` and may import what ``optim`` may."""
