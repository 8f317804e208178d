"""Which way of tuning chooses best for as many trials? Simulated cells with the code that a sweep runs.

    python benchmarks/selection.py --store outputs/demo/store > benchmarks/selection.txt

A cell is a curve of expected validation accuracy over the learning rate, in steps of 3 from the centre of the grid: its
optimum lies N(0, 0.9) steps from the centre, it falls by a median of 1.5 points for the first step on either side, and
from 2 steps (median) above the optimum on nine of ten trials diverge. A trial adds noise of a cell's own standard
deviation (median as printed, ± 40 %), larger where the accuracy is lower: that of two runs of one configuration on the
same validation images, flips of single images included. Which images are in the split moves all rates of a cell alike,
by 100·√(p(1−p)/1000) points. These numbers are read off the 76 trials of the demo's first store (1,000 validation
images, one seed, 0.8 points).

*Regret* is the expected accuracy at the best rate of all, grid or not, minus that at the chosen rate, at most 10 points
(a chosen rate that mostly diverges counts as 10), with its standard error over cells. *Spread* is the standard
deviation of the accuracy at the chosen rate between two repetitions of the tuning of one cell, what tuning adds to the
noise of a table. *Other* is the share of repetitions that choose another rate. *Trials* counts extensions.

With ``--store``, what the trials of the demo choose, too: by its first tuning seed alone, by the mean of both, and by
one standard error. *Lost* is what each choice lies below the best mean of the two seeds among rates that have both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.row import Centre
from bocb_hf.resources import find_config
from bocb_hf.sweep.cells import plan_cells
from bocb_hf.sweep.forecast import find_left
from bocb_hf.sweep.plan import load_plan
from bocb_hf.sweep.protocols import Place, Trial, choose, make_space, next_trials
from bocb_hf.sweep.run import run_overrides
from bocb_hf.sweep.tuning import Tuning

IMAGES, WORST = 1000, 10.0
SIGMAS = (0.4, 0.8, 1.6)


@dataclass(frozen=True)
class World:
    """One cell: optimum and cliff in steps of 3 from the centre, points lost by a step down and up, noise in points."""

    optimum: float
    cliff: float
    down: float
    up: float
    sigma: float
    level: float

    def accuracy(self, step: float) -> float:
        """Expected accuracy in percent."""
        distance = step - self.optimum
        slope = self.down if distance < 0 else self.up
        return self.level - min(50.0, slope * distance**2 / (1 + 0.15 * abs(distance)))

    def regret(self, step: float) -> float:
        """Points below the optimum."""
        return WORST if step > self.cliff else min(WORST, self.level - self.accuracy(step))

    def trial(self, step: float, shift: float, rng: np.random.Generator) -> Trial:
        """One trial of a learning rate; ``shift`` is what the split's images add to every trial of the cell."""
        if step > self.cliff and rng.random() < 0.9:
            return Trial()
        accuracy = self.accuracy(step)
        noise = self.sigma * (1 + (self.level - accuracy) / 5) * rng.normal()
        right = round(IMAGES * min(max(accuracy + shift + noise, 0.0), 100.0) / 100)
        return Trial(100 * right / IMAGES, 1.0, IMAGES)


def draw_world(rng: np.random.Generator, sigma: float) -> World:
    """A cell, drawn as the text above says."""
    optimum = float(np.clip(rng.normal(0, 0.9), -2.5, 2.5))
    down, up = np.exp(rng.normal(np.log(1.5), 0.8, 2)).tolist()
    cliff = optimum + float(np.exp(rng.normal(np.log(2), 0.5)))
    return World(optimum, cliff, down, up, sigma * float(np.exp(rng.normal(0, 0.35))), float(rng.uniform(65, 87)))


def tune(world: World, tuning: Tuning, rng: np.random.Generator) -> tuple[float, int]:
    """Tunes a cell once, as a sweep does, and returns the step of the chosen rate and the number of trials."""
    space = make_space(OPTIMIZERS.get("sgdm"), Centre(1.0, 0.0, "ours"), tuning)
    share, trials = world.level / 100, dict[Place, Trial]()
    shift = 100 * (share * (1 - share) / IMAGES) ** 0.5 * float(rng.normal())
    while places := next_trials(space, tuning, trials):
        for values, seed in places:
            trials[values, seed] = world.trial(step_of(values[0]), shift, rng)
    return step_of(choose(space, tuning, trials)[0]), len(trials)


def step_of(rate: object) -> float:
    """Steps of 3 from the centre, which is 1."""
    return float(np.log(float(str(rate))) / np.log(3))


def protocols() -> dict[str, list[Tuning]]:
    """The ways of tuning that are compared, by a budget of about as many trials."""
    fixed = Tuning(max_extensions=0)

    def of(points: int, seeds: int, **more: object) -> Tuning:
        return fixed.model_copy(update={"points": points, "seeds": list(range(seeds)), **more})

    fine = 3.0**0.5
    return {
        "3 to 6 trials": [
            of(3, 1, max_extensions=2),
            of(5, 1),
            of(5, 1, factor=fine),
            of(3, 2),
            of(3, 2, protocol="halving", max_extensions=1),
        ],
        "7 to 8 trials": [
            of(7, 1),
            of(7, 1, factor=fine),
            of(3, 2, max_extensions=2),
            of(5, 2, protocol="halving"),
            of(5, 2, protocol="halving", max_extensions=1),
        ],
        "9 to 10 trials": [
            of(9, 1, factor=fine),
            of(3, 3),
            of(5, 2),
            of(5, 3, protocol="halving"),
            of(5, 2, protocol="random", draws=5),
        ],
    }


def describe(tuning: Tuning) -> str:
    """A way of tuning in a few words."""
    count = tuning.draws if tuning.protocol == "random" else tuning.points
    fine = ", finer" if tuning.factor < 3 else ""
    extended = f", up to {tuning.max_extensions} more" if tuning.max_extensions and tuning.protocol != "random" else ""
    return f"{tuning.protocol} {count} × {len(tuning.seeds)}{fine}{extended}"


def measure(tuning: Tuning, worlds: Sequence[World], seed: int) -> str:
    """The figures of one way of tuning, each cell tuned twice."""
    steps: NDArray[np.float64] = np.zeros((len(worlds), 2))
    trials = np.zeros((len(worlds), 2))
    for i, world in enumerate(worlds):
        for again in range(2):
            steps[i, again], trials[i, again] = tune(world, tuning, np.random.default_rng([seed, i, again]))
    regrets = np.array([[world.regret(step) for step in row] for world, row in zip(worlds, steps, strict=True)])
    means = regrets.mean(axis=1)
    spread = np.sqrt(np.mean((regrets[:, 0] - regrets[:, 1]) ** 2) / 2)
    other = np.mean(np.abs(steps[:, 0] - steps[:, 1]) > 1e-3)
    error = means.std(ddof=1) / len(worlds) ** 0.5
    return f"{trials.mean():6.1f} {means.mean():8.3f} ± {error:.3f} {spread:7.2f} {100 * other:6.0f} %"


def demo_choices(store: str) -> list[str]:
    """What the tuned cells of the demo choose, in lines."""
    plan = load_plan(find_config("demo", "recipes/sweeps"))
    cells = plan_cells(plan, run_overrides(plan, 1, [f"runtime.store={store}"]))
    lines = [f"{'':30}{'first seed':>12}{'lost':>7}{'mean':>12}{'one s. e.':>12}{'lost':>7}"]
    different, lost, tuned = np.zeros(2), np.zeros(2), 0
    for cell in cells:
        find_left(cell)
        if cell.next_trials():
            continue
        tuned += 1
        one = plan.tuning.model_copy(update={"seeds": plan.tuning.seeds[:1], "protocol": "grid", "selection": "best"})
        both = plan.tuning.model_copy(update={"selection": "best"})
        first = choose(cell.space, one, {k: v for k, v in cell.trials.items() if k[1] == plan.tuning.seeds[0]})
        mean, chosen = choose(cell.space, both, cell.trials), choose(cell.space, plan.tuning, cell.trials)
        scores = {values: [cell.trials[values, s].top1 for s in plan.tuning.seeds] for values in (first, mean, chosen)}
        means = {values: float(np.mean([score or 0.0 for score in both])) for values, both in scores.items()}
        losses = [means[mean] - means[first], means[mean] - means[chosen]]
        different += [first != mean, chosen != mean]
        lost += losses
        lines.append(f"{cell!s:30}{first[0]:>12}{losses[0]:7.2f}{mean[0]:>12}{chosen[0]:>12}{losses[1]:7.2f}")
    lines.append(
        f"of {tuned} tuned cells, the first seed alone chooses otherwise than the mean in {different[0]:.0f} and loses "
        f"{lost[0] / max(tuned, 1):.2f} points of that mean on average; one standard error in {different[1]:.0f}, and "
        f"{lost[1] / max(tuned, 1):.2f}"
    )
    return lines


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cells", type=int, default=1500)
    parser.add_argument("--store", help="store of the demo, whose choices are printed after the simulation")
    arguments = parser.parse_args()
    cells = arguments.cells
    print(f"{cells} cells a line, each tuned twice; points of validation accuracy")
    for sigma in SIGMAS:
        rng = np.random.default_rng(1)
        worlds = [draw_world(rng, sigma) for _ in range(cells)]
        print(f"\nnoise of a trial: {sigma} points (median)")
        print(f"{'':34}{'rule':20}{'trials':>7}{'regret':>9}{'':10}{'spread':>6}{'other':>8}")
        for budget, ways in protocols().items():
            print(budget)
            for tuning in ways:
                for rule in ("best", "one_standard_error"):
                    own = tuning.model_copy(update={"selection": rule})
                    print(f"  {describe(tuning):32}{rule:20}{measure(own, worlds, seed=2)}", flush=True)
    if arguments.store is not None:
        print("\nthe demo", *demo_choices(arguments.store), sep="\n")


if __name__ == "__main__":
    main()
