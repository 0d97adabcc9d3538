"""Floor 4: where text comes from. Every language model, local or remote, answers behind one small interface."""
