"""Floor 0: the words that the API, the completion and the worker share. Pure: stdlib and pydantic only."""
