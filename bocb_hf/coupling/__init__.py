"""From records to the coupling table and what may be said about it: pure functions without torch, files or pandas."""
