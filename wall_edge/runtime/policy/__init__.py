"""The policy process: observations in, chunks and subgoals out."""
