"""What the derivations prove beyond the core: limits, priors, ensembles, specialists."""
