"""Normalisation statistics wherever a checkpoint keeps them, by robot and kind."""
