"""Every figure and table of Shervani-Tabar & Rosenbaum (2023), from one command each.

    python -m benchmarks.paper fig4 --data-root DIR
    python -m benchmarks.paper all --data-root DIR

What is computed is kept and read back; what is interrupted goes on where it was.
"""
