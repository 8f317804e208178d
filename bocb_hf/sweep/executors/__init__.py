"""Executors of a sweep: worker processes of this machine, and actors of a Ray cluster, behind one protocol."""
