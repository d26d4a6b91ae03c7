"""One HTML file about a run or a comparison: numbers, curves, and what the model recommends, with pictures."""
