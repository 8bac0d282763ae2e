# `make` alone lists the targets. Where make is missing, the cargo command of each recipe does the same.

CARGO_TARGET_DIR ?= target
HOURS ?= 1
FUZZ_SECONDS ?= 60
BUDGET ?= 500
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help build check dependencies test loom model crash crash-smoke crash-long crash-lmdb canaries fuzz demo from-rocksdb bench bench-full bench-targets bench-readpath bench-share fanout bless

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the library and the maple command for use
	cargo build --release --locked --workspace

check: ## formatting, lints and documentation, none of which may complain
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --all --check; else echo "SKIP fmt: rustfmt is not installed"; fi
	@if cargo clippy --version >/dev/null 2>&1; then \
	    cargo clippy --workspace --all-targets --locked --features mapledb/seam,mapledb/full -- -D warnings && \
	    cargo clippy --package mapledb --locked --features tracing -- -D warnings && \
	    cargo clippy --package mapledb-sim --all-targets --locked --features lmdb -- -D warnings; \
	else echo "SKIP clippy: clippy is not installed"; fi
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --features mapledb/seam,mapledb/full

dependencies: ## licences, advisories and sources of dependencies, and whether every crate can be packaged
	scripts/dependencies

test: ## every test that a fresh clone can run: units, models, processes, golden files, documents
	cargo test --workspace --locked --features mapledb/seam,mapledb/full

loom: ## the shared-memory protocol under every interleaving, and one run for each planted bug
	scripts/loom

model: ## random operations beside a sorted map for HOURS=1, or as many as are given
	MAPLE_MODEL_SECONDS=$$(awk 'BEGIN { print int($(HOURS) * 3600) }') \
	    cargo test --release --locked --package mapledb --test model -- --nocapture

crash: ## every harness that asks whether anything can be lost, and a table of what it did: about an hour on two cores
	scripts/crash crash

crash-smoke: ## a twentieth of that or more, and every planted bug
	scripts/crash smoke

crash-long: ## the same harnesses for HOURS=8, or as many as are given, shared evenly
	scripts/crash long $(HOURS)

crash-lmdb: ## MapleDB's processes killed, then LMDB's, to compare: BUDGET=500 kills of each, SEED=1
	cargo build --release --locked --package mapledb-sim --features lmdb
	$(CARGO_TARGET_DIR)/release/mapledb-sim run kill --seed $(SEED) --budget $(BUDGET)
	$(CARGO_TARGET_DIR)/release/mapledb-sim run kill-lmdb --seed $(SEED) --budget $(BUDGET)

canaries: ## one planted engine bug after the other, each of which a harness must catch
	scripts/canaries

fuzz: ## hostile data and lock files for FUZZ_SECONDS=60; guided by coverage with a nightly toolchain and cargo-fuzz
	fuzz/run $(FUZZ_SECONDS)

from-rocksdb: ## move a sample out of RocksDB, which is built for that: C++, and some minutes
	cargo test --release --locked --manifest-path examples/from_rocksdb/Cargo.toml --target-dir $(CARGO_TARGET_DIR)

demo: ## run a GeoIP service of several processes; DATA=real|sample|"FILE..." says on what data
	@cargo build --release --locked --package mapledb-geoip --package mapledb-cli
	@$(CARGO_TARGET_DIR)/release/mapledb-geoip --dir $(CARGO_TARGET_DIR)/demo $(DATA)

bench: ## MapleDB beside all its peers in one run, in minutes once built; writes docs/benchmarks/
	scripts/bench quick $(ARGS)

bench-full: ## the same at every size, which takes hours; goes on where it was stopped
	scripts/bench full --resume $(ARGS)

bench-targets: ## what docs/benchmarks/results.json says of each target: PASS, MISS or NOT MEASURED
	cargo run --quiet --release --locked --manifest-path benches/Cargo.toml --bin bench -- targets $(ARGS)

bench-readpath: ## a read through the map, by pread, through a cache and by MapleDB; ARGS=--quick for a short look
	cargo run --release --locked --manifest-path benches/Cargo.toml --bin readpath -- $(ARGS)

bench-share: ## memory of 1 to 16 processes that read one file; ARGS="--size 4GiB" for a larger one
	cargo run --release --locked --manifest-path benches/Cargo.toml --bin share -- $(ARGS)

fanout: ## what each field of a branch entry costs in fan-out and search
	cargo run --release --locked --manifest-path benches/Cargo.toml --bin fanout -- $(ARGS)

bless: ## write the golden files and the dump in docs/format.md anew, after a change of the format
	MAPLE_BLESS=1 cargo test --locked --package mapledb-format --test golden
	MAPLE_BLESS=1 cargo test --locked --package mapledb --test golden
