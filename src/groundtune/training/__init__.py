"""Floor 3: the one training loop and the batches it reads."""
