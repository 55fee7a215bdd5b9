"""The HTTP API: records intent, reads the store, never acts."""
