"""The words every room shares: ids, money, the clock and the error a person reads. No I/O, no framework."""
