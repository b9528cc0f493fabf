"""The words of the product, on hostile and on honest input."""
