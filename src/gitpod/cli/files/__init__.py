"""Files of secrets: their formats, what they are read into, and the folder of `run --files`."""
