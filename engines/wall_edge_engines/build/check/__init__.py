"""What can be said of a bundle's engines without a GPU."""
