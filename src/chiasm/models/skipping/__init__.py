"""What can be left out of a forward pass: plans, their effect, operations, timing."""
