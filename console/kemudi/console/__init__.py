"""The console and the REST API: a setting changed without knowing git."""
