"""Report: tables, figures, words and pages; may import ``sweep`` and what lies below it."""
