# The only way in. `make help` lists the targets; CI calls `make test`.

SEEDS ?= 500
ONLY ?=
CARGO ?= cargo
GREGOR = target/debug/gregor
STATIC = $(shell uname -m)-unknown-linux-gnu

.DEFAULT_GOAL := help
.PHONY: help build simulator release static image cluster test check scenarios sweep selftest interop deb sim-bench fix bless verify clean

help: ## Lists these targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## The gregor binary with the simulator in it, at target/debug/gregor
	$(CARGO) build -p cli

simulator: ## The same, faster and slower to build, for long searches, at target/simulator/gregor
	$(CARGO) build --profile simulator -p cli

release: ## What users deploy, without the simulator, at target/gregor
	RUSTFLAGS= $(CARGO) build --release -p cli
	cp -f target/release/gregor target/gregor
	@if nm -D --defined-only target/gregor | grep -qE ' (getentropy|clock_gettime)$$'; then echo "the simulator leaked into target/gregor"; exit 1; fi

# Without a dynamic linker getrandom does not find the C library's function by name, and would want /dev/urandom.
static: ## As release, in one file that needs no other, at target/gregor-static
	RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"' $(CARGO) build --release -p cli --target $(STATIC)
	cp target/$(STATIC)/release/gregor target/gregor-static
	@if target/gregor-static --version | grep -q simulator; then echo "the simulator leaked into target/gregor-static"; exit 1; fi
	@if readelf -d target/gregor-static | grep -q NEEDED; then echo "target/gregor-static needs other files"; exit 1; fi

image: ## A container image, gregor, from packaging/docker
	packaging/compose/check
	docker build -f packaging/docker/Dockerfile -t gregor .

cluster: release ## Three real nodes on this machine, data under ./gregor-data; Ctrl-C stops them
	target/gregor cluster start -n 3 --foreground

# Each story's first seed is told in the tests too, and compared with what was told elsewhere: `make scenarios` runs all of them twice.
test: ## Everything that needs only Rust: unit, property, golden, tidy, a real cluster, scenarios, determinism
	$(CARGO) test --workspace --quiet
	$(GREGOR) sim run
	$(GREGOR) sim sweep --seeds 20 --twice

check: ## Format, lints and docs; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings --cfg madsim" $(CARGO) doc --workspace --no-deps --quiet

scenarios: build ## Every kept scenario with its seeds, in the simulator; ONLY=isr for one folder
	$(GREGOR) sim run $(ONLY) --twice

sweep: build ## Fresh seeds, each in its own process, run twice and compared; SEEDS=500
	$(GREGOR) sim sweep --seeds $(SEEDS) --twice

selftest: build ## The bug zoo: is every planted bug caught, by what, after how many seeds
	$(GREGOR) sim selftest

interop: release ## Real clients and Kafka's own tools against a real three-node cluster
	interop/run

deb: release ## A Debian package of the release build, into target/
	packaging/deb/build

sim-bench: simulator ## The simulator's speed: virtual seconds a CPU second, and what its checks cost
	target/simulator/gregor sim bench

fix: ## Formats and applies lints
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged --quiet
	$(CARGO) fmt --all

bless: build ## Accepts reviewed snapshots
	INSTA_UPDATE=always GREGOR_BLESS=1 $(CARGO) test --workspace --quiet

verify: check test scenarios ## What you run before a push
	$(GREGOR) sim sweep --seeds 50 --twice

clean: ## Removes what was built
	$(CARGO) clean
