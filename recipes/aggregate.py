"""Turn the cards and records of a store into the coupling table, its figure and one page.

From the store that ``make demo`` or ``bocb train`` filled::

    python recipes/aggregate.py --store outputs/store --out outputs/report

The same as ``bocb aggregate``. It needs no torch: only what ``pip install bocb-hf`` brings. It writes
``coupling.csv``, ``coupling.parquet``, ``heatmap.png``, ``heatmap.svg`` and ``report.html`` and prints the table.
"""

import sys

from bocb_hf.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["aggregate", *sys.argv[1:]]))
