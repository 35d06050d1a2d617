"""What motors say, judged: is it fresh, can it be, and what went wrong."""
