"""From a pushed repository to a row of the leaderboard: a small file that its author proposes, a maintainer merges."""
