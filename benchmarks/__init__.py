"""Speed against peers, and one file for each figure or table of the paper."""
