"""What `import chiasm` gives: everything that the command line does, one call away in a notebook."""
