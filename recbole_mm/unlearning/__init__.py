"""A trained model forgets users, items or interactions."""
