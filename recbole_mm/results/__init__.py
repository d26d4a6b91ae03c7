"""What is done with finished runs: their records listed, compared, taken apart and reported."""
