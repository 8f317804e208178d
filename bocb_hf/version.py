"""The version of this package, as records, caches and requests state it."""

__version__ = "0.1.0"
