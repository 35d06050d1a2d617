"""What all simulated worlds with tasks share: their process, its messages, and the daemon's side of it."""
