"""FAST actions: their codec, and the policy that speaks them."""
