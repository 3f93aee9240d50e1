"""The REST API below `/api/v1`, one module for each group of addresses; `shapes` has what they answer."""
