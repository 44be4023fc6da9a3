"""The tests of Moorage: one folder a room, and flows, contracts, faults, browser, benchmarks, architecture."""
