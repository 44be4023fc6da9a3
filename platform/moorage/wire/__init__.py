"""What crosses a process boundary: frozen records and the journal's format.

An attribute changed here meets records already in flight: add optional ones, never change a meaning.
"""
