"""Checks that an optimizer is what its row says. It is a part of ``optim`` and may import what ``optim`` may."""
