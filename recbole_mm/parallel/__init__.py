"""Several processes that share a run, and the devices that they run on."""
