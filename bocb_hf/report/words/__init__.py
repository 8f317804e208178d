"""The words of the report: numbers as sentences and tables as text; may import what ``report`` may."""
