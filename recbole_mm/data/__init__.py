"""Item content: pictures and texts by internal item id, and the RecBole data set that carries them."""
