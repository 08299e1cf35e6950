"""Keys and sealing: the key-encryption key, the data keys, and how a store is unlocked."""
