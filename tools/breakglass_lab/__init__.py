"""Everything that stands in for the outside world in the demo and the tests."""
