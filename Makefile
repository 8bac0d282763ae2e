# `make` alone lists the targets.

CARGO_TARGET_DIR ?= target

.PHONY: help demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## run a GeoIP service of several processes; DATA=real|sample|"FILE..." says on what data
	@cargo build --release --package mapledb-geoip --package mapledb-cli
	@$(CARGO_TARGET_DIR)/release/mapledb-geoip --dir $(CARGO_TARGET_DIR)/demo $(DATA)
