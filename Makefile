# Every command a developer, CI or a stranger needs. Each target installs what it lacks and may be run twice: the second
# run does only what changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sightline
export PATH := $(CACHE)/bin:$(HOME)/.cargo/bin:$(PATH)
# Debian's Python, not another one on PATH: only it sees GStreamer.
export PYTHON := /usr/bin/python3

PLAYER := $(shell find player proxy/wire www \( -name dist -o -name examples \) -prune -o -type f -print 2>/dev/null) Trunk.toml Cargo.toml Cargo.lock .ci/shrink.sh

.PHONY: help
help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

.PHONY: demo
demo: pages ## Build everything and show the built-in camera in a browser
	cargo run --release -p sightline -- demo

.PHONY: release
release: pages ## target/release/sightline: one file with pages and player inside
	cargo build --release -p sightline
	@ls -lh target/release/sightline | awk '{print "target/release/sightline  " $$5}'

.PHONY: pages
pages: www/dist/index.html ## Build the player and the pages

www/dist/index.html: $(PLAYER)
	@.ci/tools.sh wasm
	trunk build --release
	@touch $@

.PHONY: build
build: pages ## Build the proxy for development
	cargo build -p sightline

.PHONY: test
test: packages build tests/browser/node_modules ## Run every test: units, whole system, browsers
	.ci/test.sh

.PHONY: check
check: packages ## What CI runs: formatting, lints, licences, docs, size budget, and every test
	.ci/check.sh

.PHONY: bench
bench: packages release tests/browser/node_modules ## Measure, print a table, and write JSON under target/bench/
	cargo build --release -p sightline-tests --bin bench
	SIGHTLINE_BIN=$(CURDIR)/target/release/sightline target/release/bench $(BENCH)

FUZZ ?= chunk amf flv session rtsp rtp_h264 rtp_h265 rtp_aac sps nal aac sound
SECONDS_EACH ?= 60

.PHONY: fuzz
fuzz: ## Fuzz what reads a peer's bytes (FUZZ=chunk SECONDS_EACH=600)
	@.ci/tools.sh fuzz
	.ci/fuzz.sh $(SECONDS_EACH) $(FUZZ)

.PHONY: npm
npm: pages ## target/npm/sightline-player-VERSION.tgz
	.ci/npm.sh

.PHONY: examples
examples: packages build tests/browser/node_modules ## Build every example under player/examples and look at its picture
	SIGHTLINE_BIN=$(CURDIR)/target/debug/sightline cargo test -p sightline-tests --test examples -- --include-ignored --test-threads=2

.PHONY: browsers
browsers: ## Write docs/browsers.md from what `make test` has seen
	cargo run -q -p sightline-tests --bin browsers-table

.PHONY: clip
clip: ## Make the demo camera's clip anew (wants ffmpeg)
	proxy/src/demo/clip/make.sh

.PHONY: packages
packages:
	@.ci/packages.sh

tests/browser/node_modules: tests/browser/package-lock.json
	cd tests/browser && npm ci --no-audit --no-fund
	@touch $@
