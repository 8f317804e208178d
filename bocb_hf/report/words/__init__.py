"""Numbers as sentences. Part of ``report``, and may import what that may."""
