"""From what people have (tables of any common kind, a folder of pictures, published data sets) to a RecBole data set folder."""
