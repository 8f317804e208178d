"""Results: the published data set, what counts in it, and submissions; may import ``store`` and what lies below."""
