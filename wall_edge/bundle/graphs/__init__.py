"""A bundle's graphs: what the manifest says of them, what the files may hold."""
