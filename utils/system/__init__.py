"""The ground floor, which every room may import and which imports nothing of ours."""
