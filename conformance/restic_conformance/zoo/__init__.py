"""The damage zoo: every way a repository breaks, what can still be had from each, and what programs bring back.

`repositories` has healthy repositories written by the real programs, `site` reads one whole, `recipes` damages it, `prognosis`
computes what is recoverable and by what, `rescuers` let programs repair it, `judge` measures what they brought back.
"""
