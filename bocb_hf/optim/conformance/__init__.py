"""Checks that an optimizer is what its row says. This room is a part of ``optim`` and may import what that may."""
