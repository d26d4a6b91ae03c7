"""The command ``compare``: many runs, one leaderboard."""
