"""What a policy will have to do, counted before anything is exported."""
