"""Several processes that share a run: how they start, talk to each other, share parameters, and which device each of them has."""
