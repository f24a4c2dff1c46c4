"""How good each checkpoint is, beside what else its bytes could hold: `docs/quality.md`.

`python -m benchmarks.quality --image PATH` measures (`measure`), encodes the baselines
(`encoded`, `search`), draws strips and a film (`pictures`) and writes the page (`page`).
"""
