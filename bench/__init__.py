"""Side-by-side measurements. Nothing here is part of the package."""
