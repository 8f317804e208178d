"""Submissions: a small file, proposed by its author and merged by a maintainer, brings runs to the leaderboard."""
