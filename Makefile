.PHONY: bench-lmdb
bench-lmdb: ## MapleDB beside LMDB in one run: ratios, and JSON rows under target/bench/
	cargo run --release --manifest-path benches/Cargo.toml --bin bench-lmdb -- $(ARGS)
