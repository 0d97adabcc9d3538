"""The OpenAI API over HTTP, on this machine: files, fine-tuning jobs, models that answer. Wire names are OpenAI's, here only."""
