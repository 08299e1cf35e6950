"""Keys and sealing: the key-encryption key, data keys, unlocking a store."""
