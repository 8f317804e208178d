"""Report: tables, figures and words; may import ``sweep`` and what lies below it."""
