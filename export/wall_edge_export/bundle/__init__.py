"""The export itself: steps, options, workspace."""
