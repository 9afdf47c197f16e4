"""CPU per event of each stage of the bridge and the SDK, beside its peers, on the same recorded input in one run."""
