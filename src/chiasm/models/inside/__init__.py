"""What goes on inside: attribution, neurons, concepts, attention rows."""
