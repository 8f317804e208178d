"""Checks that an optimizer is what its row says. Part of ``optim``, and may import what that may."""
