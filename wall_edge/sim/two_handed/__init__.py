"""Two six-joint arms over one table, seen by a front camera and one on each wrist."""
