"""A folder that stands alone: what a model needs to recommend, without its data set."""
