"""Floor 3: questions and answers as tokens: prompts, chat rendering, packing, splits, and material to learn reading from."""
