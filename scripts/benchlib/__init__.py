"""What scripts/bench.py and scripts/bench_peers.py share. Only the standard library."""
