"""Compare: an answer on own images within a given time; may import ``recommend`` and what lies below it."""
