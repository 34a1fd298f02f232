"""Charts as Vega-Lite specifications: interactive in a page and a notebook, SVG, PDF and PNG for a paper."""
