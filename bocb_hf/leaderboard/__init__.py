"""Leaderboard: a page that is a view of one Parquet file; may import ``recommend`` and what lies below it.

``write.py`` makes the file from records, with everything computed; ``read.py`` opens it. ``state.py`` is what a visitor
has chosen, which is what the address says; ``views.py`` turns it into HTML, ``export.py`` into files, and ``app.py``
puts both on a page. ``deploy.py`` makes a Space of it.
"""

from pathlib import Path

DEMO = Path(__file__).resolve().parent / "demo.parquet"  # of `make demo`, written by `bocb leaderboard --write`
