"""Report: tables, figures, words and pages; may import ``sweep``, ``results`` and what lies below."""
