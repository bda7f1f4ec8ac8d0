"""The LRP core: capture, plan, rewrite, run. Knows torch, no domain and no labelled arrays."""
