"""Compare: an answer on own images within a given time; may import ``page`` and what lies below it."""
