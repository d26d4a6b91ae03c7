"""Training: RecBole's trainer with an encoder inside, its loaders, and how a run is saved and resumed."""
