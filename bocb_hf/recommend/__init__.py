"""Which optimizers to try on a backbone, with which evidence: answers from tables, never a new number for a table."""
