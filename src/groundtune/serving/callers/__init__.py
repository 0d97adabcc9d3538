"""Who may call, how much: keys, the gate, budgets and rates, usage."""
