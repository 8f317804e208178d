"""Recommend: which optimizers to try on a backbone, with the evidence; may import ``report`` and what lies below it."""
