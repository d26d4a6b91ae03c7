"""The recommenders over histories, one file per model: what a user does next."""
