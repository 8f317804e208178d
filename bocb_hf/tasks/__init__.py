"""Tasks: detection and pose, their data, networks, losses and metrics; may import ``store`` and what lies below it.

It needs the extra ``train``; ``bocb_hf.runs.tasks`` holds the rows, which need no torch.
"""
