"""The training of networks: configuration, batches, the loop, checkpoints, and what a run leaves behind."""
