"""Cards as text, curves and evaluation results. They are a part of ``store`` and may import what ``store`` may."""
