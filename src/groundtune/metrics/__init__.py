"""Floor 5: what an answer is worth: one number from 0 to 1 a question."""
