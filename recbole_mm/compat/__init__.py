"""What recbole 1.2.1 needs on today's Python and libraries, in programs of RecBole's own as well: ``import recbole_mm`` is enough."""
