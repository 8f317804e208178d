"""The words of the report: numbers as sentences and tables as text; it may import what ``report`` may."""
