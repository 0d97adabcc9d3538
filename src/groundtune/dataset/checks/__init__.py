"""Whether a training file is fit to train on: what is checked, how findings are counted, copies and leaks."""
