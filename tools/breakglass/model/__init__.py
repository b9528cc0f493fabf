"""The words of the product: policy, overlay, activation, inventory, ledger. Pure: no clock, no disk, no SDK."""
