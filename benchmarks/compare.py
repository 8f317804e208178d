"""How far from the best does `bocb compare` end after a given time? Its choices, replayed against an exhaustive grid.

    bocb sweep benchmarks/compare_grid.yaml --store outputs/compare_grid
    python benchmarks/compare.py --store outputs/compare_grid > benchmarks/compare.txt
    python benchmarks/compare.py --simulated

Every repeat takes one backbone, shuffles the seeds of the grid, and lets three ways choose an optimizer and a rate
within the same time, paid with the times that the grid's own runs took, on two workers:

- *compare*: the design that `bocb compare` fits into the time, its trials, its choice of the rates by validation, its
  final runs, and the optimizer with the highest mean of these. Final runs use other seeds than trials.
- *AdamW, default*: AdamW at the centre of its grid, which needs no time at all.
- *random search*: as many draws of optimizer and rate as fit into the time, each tried with one seed, the highest
  taken. The draws are those of Optuna's RandomSampler.

*Regret* is the mean validation top-1 of the best optimizer and rate of the grid minus that of what was chosen, over all
seeds of the grid, in points; at the end its mean over repeats with a 95 % interval of the bootstrap over them. The grid
has no rates beyond five, so neither has compare. Runs of this grid take seconds, so that nearly every design fits into
five minutes; ``--cost 20`` lets each take 20 times as long, as on larger images.

With ``--simulated``, the grid is made up: curves over the rate as in ``benchmarks/selection.py``, optimizers whose best
rates differ by a normal with a standard deviation of 1.5 points, and noise of 0.8 points a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bocb_hf.compare.decide import PLANNED
from bocb_hf.compare.design import Design, fit
from bocb_hf.coupling.selection import Values
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.row import Centre
from bocb_hf.resources import find_config
from bocb_hf.store import open_store
from bocb_hf.store.contents import read_store
from bocb_hf.sweep.plan import SweepPlan, load_plan
from bocb_hf.sweep.protocols import Place, Space, Trial, choose, make_space, next_trials

PLAN = "benchmarks/compare_grid.yaml"
IMAGES = 1000
MINUTES = (5, 15, 60)
ANCHORS = ("adamw", "sgdm", "lamb", "adan")  # what `bocb compare` takes where nothing else is recommended


@dataclass(frozen=True)
class Grid:
    """The exhaustive grid of one backbone.

    Attributes:
        spaces: Axes of each optimizer.
        scores: Validation top-1 in points by optimizer, configuration and seed; None where a run diverged.
        seconds: Wall seconds of a run by optimizer.
        seeds: Seeds of the grid.
    """

    spaces: Mapping[str, Space]
    scores: Mapping[tuple[str, Values, int], float | None]
    seconds: Mapping[str, float]
    seeds: tuple[int, ...]

    def mean(self, optimizer: str, values: Values) -> float:
        """Mean top-1 of a configuration over all seeds; 0 where any run diverged."""
        found = [self.scores[optimizer, values, seed] for seed in self.seeds]
        return 0.0 if any(score is None for score in found) else float(np.mean([s for s in found if s is not None]))

    def best(self) -> float:
        """Mean top-1 of the best configuration of all."""
        return max(self.mean(name, values) for name, space in self.spaces.items() for values in space.points())


def read_grids(store: str) -> dict[str, Grid]:
    """Reads the grid of each backbone from the trials of a store.

    Raises:
        InputError: A trial of the plan is missing.
    """
    from bocb_hf.sweep.cells import plan_cells, run_overrides

    plan = load_plan(find_config(PLAN, "recipes/sweeps"))
    cells = plan_cells(plan, run_overrides(plan, 1, []))
    records = [r for r in read_store(open_store(store)).records if r.role == "trial"]
    grids: dict[str, Grid] = {}
    for backbone in plan.backbones:
        spaces = {c.place.optimizer: c.space for c in cells if c.place.backbone == backbone}
        own = [r for r in records if r.identity.backbone.name == backbone]
        scores: dict[tuple[str, Values, int], float | None] = {}
        for r in own:
            top1 = r.metrics.val_top1
            score = top1.last if r.status == "completed" and top1 is not None else None
            scores[r.identity.optimizer.name, (r.identity.optimizer.lr,), r.seed] = score
        missing = [
            (name, values, seed)
            for name, space in spaces.items()
            for values in space.points()
            for seed in plan.tuning.seeds
            if (name, values, seed) not in scores
        ]
        if missing:
            raise InputError(f"--store: {store} lacks {len(missing)} trials of {backbone}; run the sweep to its end")
        seconds = {
            name: float(np.mean([r.cost.wall_seconds for r in own if r.identity.optimizer.name == name]))
            for name in spaces
        }
        grids[backbone] = Grid(spaces, scores, seconds, tuple(plan.tuning.seeds))
    return grids


def simulate_grids(count: int, generator: np.random.Generator) -> dict[str, Grid]:
    """Makes up the grids of some backbones."""
    plan = load_plan(find_config(PLAN, "recipes/sweeps"))
    grids: dict[str, Grid] = {}
    for number in range(count):
        spaces = {
            name: make_space(OPTIMIZERS.get(name), Centre(1e-3, 0.0, "ours"), plan.tuning) for name in plan.optimizers
        }
        scores: dict[tuple[str, Values, int], float | None] = {}
        for name, space in spaces.items():
            top, optimum = 80 + generator.normal(0, 1.5), generator.normal(0, 0.9)
            fall, spread = 1.5 * np.exp(generator.normal(0, 0.4)), 0.8 * np.exp(generator.normal(0, 0.4))
            for step, values in enumerate(space.points()):
                expected = top - fall * (step - 2 - optimum) ** 2
                diverges = step - 2 - optimum > 2
                for seed in plan.tuning.seeds:
                    lost = diverges and generator.random() < 0.9
                    score = None if lost else float(np.clip(expected + generator.normal(0, spread), 0, 100))
                    scores[name, values, seed] = score
        grids[f"simulated {number}"] = Grid(spaces, scores, dict.fromkeys(spaces, 5.0), tuple(plan.tuning.seeds))
    return grids


def replay(grid: Grid, seconds: float, cost: float, workers: int, generator: np.random.Generator) -> float | None:
    """Regret of `bocb compare` in points; None where it would refuse the time."""
    each = {name: cost * grid.seconds[name] for name in grid.spaces}
    found = fit(Design(ANCHORS, extended=False), PLANNED * seconds, each, workers)
    if found is None:
        return None
    plan = SweepPlan.model_validate(
        {"edition": 2, "name": "x", "config": "x", "backbones": ["tiny_vit"], **found.design.keys()}
    )
    order = generator.permutation(grid.seeds).tolist()
    half = len(order) // 2
    as_trial = dict(zip(plan.tuning.seeds, order[:half], strict=False))
    finals = order[half:]
    means: dict[tuple[str, Values], float] = {}
    for name in found.design.optimizers:
        space, trials = _cut(grid.spaces[name], plan), dict[Place, Trial]()
        while places := next_trials(space, plan.tuning, trials):
            for values, seed in places:
                trials[values, seed] = _trial(grid.scores[name, values, as_trial[seed]])
        chosen = choose(space, plan.tuning, trials)
        scores = [grid.scores[name, chosen, seed] for seed in finals]
        means[name, chosen] = 0.0 if any(s is None for s in scores) else float(np.mean([s for s in scores if s]))
    name, values = max(means, key=lambda place: means[place])
    return grid.best() - grid.mean(name, values)


def _cut(space: Space, plan: SweepPlan) -> Space:
    """The axes with as many rates as the plan has, around the centre."""
    from dataclasses import replace

    (axis,) = space.axes
    beside = (len(axis.values) - plan.tuning.points) // 2
    return Space((replace(axis, values=axis.values[beside : len(axis.values) - beside]),))


def _trial(score: float | None) -> Trial:
    return Trial() if score is None else Trial(score, 100 - score, IMAGES)


def search(grid: Grid, seconds: float, cost: float, workers: int, sampler: Any, generator: Any) -> float:
    """Regret of a random search in points."""
    study = sampler(int(generator.integers(2**31)))
    names, left, best = list(grid.spaces), seconds * workers, (-1.0, 0.0)
    order = generator.permutation(grid.seeds).tolist()
    while True:
        trial = study.ask()
        name = trial.suggest_categorical("optimizer", names)
        values = grid.spaces[name].points()[trial.suggest_int("rate", 0, 4)]
        left -= cost * grid.seconds[name]
        if left < 0:
            return grid.best() - best[1]
        score = grid.scores[name, values, order[0]]
        study.tell(trial, 0.0 if score is None else score)
        best = max(best, (0.0 if score is None else score, grid.mean(name, values)))


def default(grid: Grid) -> float:
    """Regret of AdamW at the centre of its grid, in points."""
    points = grid.spaces["adamw"].points()
    return grid.best() - grid.mean("adamw", points[len(points) // 2])


def optuna_sampler() -> Any:
    """Makes studies with Optuna's RandomSampler.

    Raises:
        InputError: Optuna is not installed.
    """
    try:
        import optuna  # pyright: ignore[reportMissingImports] # in no extra of this package: only this script needs it
    except ImportError:
        raise InputError("random search needs Optuna: pip install optuna, or give --no-search") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return lambda seed: optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))


def summary(regrets: Sequence[float], generator: np.random.Generator) -> str:
    """The mean with its 95 % interval of the bootstrap over repeats."""
    values: NDArray[np.float64] = np.array(regrets)
    drawn = generator.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{values.mean():5.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Prints regrets by time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="store of the grid")
    parser.add_argument("--simulated", action="store_true", help="make grids up instead")
    parser.add_argument("--cost", type=float, default=20.0, help="times that each run takes longer")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-search", action="store_true", help="leave random search out, which needs Optuna")
    given = parser.parse_args()
    if (given.store is None) != given.simulated:
        parser.error("give --store or --simulated")
    generator = np.random.default_rng(0)
    grids = simulate_grids(given.repeats, generator) if given.simulated else read_grids(given.store)
    sampler = None if given.no_search else optuna_sampler()
    names = list(grids)
    kind = "simulated grids" if given.simulated else f"{len(grids)} backbones"
    print(
        f"{given.repeats} repeats over {kind}; a run takes {given.cost:g} times its own time; {given.workers} workers"
    )
    print("regret in points against the best of the grid: mean, 95 % over repeats\n")
    print(f"{'time':>8}  {'compare':>20}  {'AdamW, default':>20}  {'random search':>20}")
    for minutes in MINUTES:
        ours, usual, drawn, refused = list[float](), list[float](), list[float](), 0
        for repeat in range(given.repeats):
            grid = grids[names[repeat % len(names)]]
            regret = replay(grid, 60 * minutes, given.cost, given.workers, generator)
            usual.append(default(grid))
            refused += regret is None
            ours.append(usual[-1] if regret is None else regret)  # who is refused takes the default
            if sampler is not None:
                drawn.append(search(grid, 60 * minutes, given.cost, given.workers, sampler, generator))
        columns = [summary(each, generator) if each else "not run" for each in (ours, usual, drawn)]
        note = f"   compare refuses {refused} of {given.repeats}" if refused else ""
        print(f"{minutes:>5} min  " + "  ".join(f"{c:>20}" for c in columns) + note)


if __name__ == "__main__":
    main()
