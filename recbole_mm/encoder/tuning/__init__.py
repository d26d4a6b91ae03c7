"""Which part of an encoder trains, and at which rates."""
