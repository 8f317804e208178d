"""Commands: one file a command of ``bocb``; may import every other room, and only ``cli`` and the recipes import it.

The file of the command ``check-optimizer`` is ``check_optimizer.py``, and its object ``command``. Beside these lie
``command.py`` (what all commands share), ``options.py`` (options of several commands), ``completion.py`` (what a shell
completes), and ``submissions.py`` and ``verifications.py``, each for what two commands print. What takes long to import
(torch, pandas, matplotlib) is imported where a command runs, so that help and completion do not wait for it.
"""

from __future__ import annotations

# each command with what it does, in the order of the help
COMMANDS = {
    "list": "show the backbones, optimizers, data sets, settings or sweeps",
    "train": "train one backbone with one optimizer (the same as accelerate launch recipes/train.py)",
    "sweep": "run a plan: tune and train every cell, continuing where it stopped",
    "compare": "say which optimizer is best for your images and your backbone, within a given time",
    "status": "say how far a sweep is, with its table so far",
    "aggregate": "read a store's records and print the coupling table",
    "figures": "draw every figure of a table and write its numbers",
    "analyze": "look into the weights of checkpoints layer by layer",
    "explain": "say whether weight patterns or early curves predict coupling",
    "recommend": "name the optimizers to try on a backbone, with the evidence",
    "pull": "get the best checkpoint of a backbone from a store, with the lines that load it",
    "leaderboard": "look at the tables in a browser, or deploy them as a Space",
    "check-optimizer": "show an optimizer's row and run the conformance suite on it",
    "render": "rebuild the cards of a store from its records",
    "push": "send finished local runs to the Hub; trains nothing",
    "publish": "write records and tables into a results data set of the Hub",
    "collect": "gather the repositories of a setting in a collection of the Hub",
    "submit": "propose pushed runs for the leaderboard",
    "validate": "check the submissions of a results data set, or of a pull request on it",
    "verify": "measure the weights of a run again on its test split",
    "reproduce": "train a run again from its record and compare the scores",
    "retract": "retract a run: it stays, and no table counts it",
}
