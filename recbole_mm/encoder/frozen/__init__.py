"""What the frozen part of an encoder makes of an item, computed once."""
