"""The ports in memory: the only stand-ins of the tests, held to the same assertions as the real adapters."""
