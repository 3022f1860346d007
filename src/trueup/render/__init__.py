"""What people and programs read: plans, reports and tables as text, JSON and JSON lines.

Everything here is pure: values of the core in, lines or documents out. Colour is a style name beside the text, and
the terminal's business; every sign stands beside its word, so nothing is lost without it.
"""
