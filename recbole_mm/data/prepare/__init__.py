"""Makes a RecBole data set folder of what people have: tables of any common kind, a folder of pictures, published data sets."""
