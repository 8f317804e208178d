"""Cards as text, curves and evaluation results. Part of ``store``, and may import what that may."""
