"""Floor 2: what a way of training takes before anything runs: memory, time, disk, money, and what would make it fit."""
