"""The use cases, beside the laws."""
