"""The rows of the scoreboard, one module per section of the paper."""
