"""What an evaluation counts."""
