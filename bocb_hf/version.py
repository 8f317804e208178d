"""The version of this package, as records, caches and requests state it."""

__version__ = "0.2.0"
