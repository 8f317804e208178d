"""Page: the static page, and what writes and serves it; may import ``recommend`` and what lies below it.

``write.py`` makes a Parquet file from records, with everything computed; ``read.py`` opens it. ``data.py`` draws from
it the two files that the page reads, and ``document.py`` puts these and the front-end together: a folder for any web
host, or one file. ``server.py`` shows a folder here, and ``deploy.py`` makes a Space of it. The front-end is in
``source`` (TypeScript); ``bundle`` holds what is built of it.
"""

from pathlib import Path

# the laptop study and the published tables, written by `benchmarks/study_leaderboard.py`
EMBEDDED = Path(__file__).resolve().parent / "leaderboard.parquet"
STUDY = "published-cifar100"  # the study's main table
