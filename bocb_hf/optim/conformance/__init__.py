"""Checks that an optimizer is what its row says. This room belongs to ``optim`` and may import what ``optim`` may."""
