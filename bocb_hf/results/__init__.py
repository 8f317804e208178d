"""Results: the published data set, what counts in it, and submissions; may import ``tasks`` and what lies below."""
