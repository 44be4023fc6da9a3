"""Commands of the fleet for the operator."""
