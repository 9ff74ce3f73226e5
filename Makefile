# mlpd's build. `make` builds, `make help` lists the targets. Each flavour has its own folder under build/:
# build/release (whose program is copied to build/mlpd), and with SAN=address or SAN=thread build/address, build/thread.
# V=1 shows the commands.

SAN ?=
ifneq ($(filter-out address thread,$(SAN)),)
$(error SAN=$(SAN) is unknown; it is address, thread, or nothing for the release build)
endif
ifeq ($(origin CC),default)
CC := gcc
endif
B := build/$(or $(SAN),release)
Q := $(if $(V),,@)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wcast-qual -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wno-missing-field-initializers
OPTIMISE := -O2 -g
SANITIZE_address := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SANITIZE_thread  := -fsanitize=thread -fno-omit-frame-pointer
SANITIZE := $(if $(SAN),$(SANITIZE_$(SAN)))
FORTIFY := -U_FORTIFY_SOURCE $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong
# -ffp-contract=off: a multiplication and an addition are fused where the source says fma, and nowhere else, so that a
# row's result does not depend on which loop the compiler saw it in.
CFLAGS_ALL := -std=gnu11 $(OPTIMISE) $(WARNINGS) -ffp-contract=off -fno-math-errno -fPIE \
              -D_GNU_SOURCE $(FORTIFY) -pthread -I. -Ibuild/generated $(SANITIZE) $(CFLAGS)
LDFLAGS_ALL := -pthread $(SANITIZE) -pie -Wl,-z,relro,-z,now,--as-needed $(LDFLAGS)
LIBS := -lmicrohttpd -lcjson -lprotobuf-c -lz -lm
# Debian's libcheck is static and wants libsubunit; others ship a libcheck that brings what it needs.
LIBS_UNIT = -lcheck $(if $(wildcard /usr/include/subunit/child.h),-lsubunit) $(LIBS)

# One instruction set per file, its flags on that file only.
CFLAGS_kernels/cpu_avx2.o   := -mavx2 -mfma
CFLAGS_kernels/cpu_avx2_activations.o   := $(CFLAGS_kernels/cpu_avx2.o)
CFLAGS_kernels/cpu_avx512.o := -mavx512f -mfma
# gcc 12 keeps 64-byte vectors on the fake stack that finds uses after return, where they are not aligned.
ifeq ($(SAN),address)
CFLAGS_kernels/cpu_avx512.o += --param asan-use-after-return=0
endif
CFLAGS_kernels/cpu_avx512_activations.o := $(CFLAGS_kernels/cpu_avx512.o)
# It defines a function of the C library, which fortification would make an inline one.
CFLAGS_server/http_socket.o := -U_FORTIFY_SOURCE
# stb_image adds and shifts ints beyond their range for a corrupt JPEG; the file says why that is harmless.
CFLAGS_server/image_stb.o   := -fwrapv -fno-sanitize=shift,signed-integer-overflow

# protoc-c writes these from engine/onnx_schema.proto. Foreign hands wrote its templates: none of our warnings for it.
GENERATED := build/generated/engine/onnx_schema.pb-c
CFLAGS_build/generated/engine/onnx_schema.pb-c.o := -w

SOURCES := $(wildcard server/*.c engine/*.c kernels/*.c)
HEADERS := $(wildcard server/*.h engine/*.h kernels/*.h tests/unit/*.h)
UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c)
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SOURCES := $(wildcard tests/bench/*.c)
BENCH_PYTHON = $(or $(PYTHON),/usr/bin/python3) -B
TOOL_SOURCES := $(wildcard tests/tools/*.c)
EVERY_SOURCE := $(SOURCES) $(UNIT_SOURCES) $(FUZZ_SOURCES) $(BENCH_SOURCES) $(TOOL_SOURCES)
LIBRARY_SOURCES := $(filter-out server/main.c,$(SOURCES)) $(GENERATED).c

.PHONY: all
all: $(if $(SAN),$(B)/mlpd,build/mlpd) ## build the program (the default)

.PHONY: run
run: ## build and serve the shipped model; ARGS="--port 9000" passes options
	@sh scripts/run.sh $(ARGS)

.PHONY: test unit integration
test: ## build and run every test; SAN=address or SAN=thread with that sanitizer
	@SAN=$(SAN) sh scripts/test.sh
unit integration: ## the unit tests, the integration tests alone
	@SAN=$(SAN) sh scripts/test.sh $@

.PHONY: lint
lint: ## gcc and clang with -Werror, clang-tidy, cppcheck, clang-format, shellcheck and the layers
	@sh scripts/lint.sh

.PHONY: fuzz fuzz-run
fuzz: $(FUZZ_SOURCES:%.c=build/fuzz/%) ## build the fuzz targets
fuzz-run: fuzz ## replay known crashes, then fuzz each target for FUZZ_SECONDS (10)
	@sh scripts/fuzz.sh

.PHONY: bench bench-peers bench-publish bench-kernels overload soak
BENCH_PROGRAMS := bench_kernels kernel_worker ceiling_mhd ceiling_epoll count_allocations.so
bench: ## mlpd beside the ceilings, OpenBLAS and ONNX Runtime, into build/bench; less than 10 minutes on an idle machine
	@sh scripts/install-deps.sh run bench
	@$(MAKE) -s SAN= build/mlpd $(BENCH_PROGRAMS:%=build/release/tests/bench/%)
	@$(BENCH_PYTHON) scripts/bench.py $(ARGS)
bench-peers: ## mlpd beside Triton, FastAPI and LitServe, which it installs into build/bench/peers
	@sh scripts/install-deps.sh run bench
	@$(MAKE) -s SAN= build/mlpd
	@$(BENCH_PYTHON) scripts/bench_peers.py $(ARGS)
bench-publish: ## put the last results into README.md and tests/bench/
	@$(BENCH_PYTHON) scripts/bench.py --publish
bench-kernels: $(B)/tests/bench/bench_kernels ## what the kernels reach of this processor's peak
	@$<
overload: ## twice the load that mlpd can take, and what becomes of it, into build/bench; two minutes on an idle machine
	@sh scripts/install-deps.sh run bench
	@$(MAKE) -s SAN= build/mlpd build/release/tests/bench/open_loop
	@$(BENCH_PYTHON) scripts/overload.py $(ARGS)
soak: ## REQUESTS (10000000) good and bad requests; memory stays flat, and the counters add up; SAN=address
	@sh scripts/install-deps.sh run bench
	@$(MAKE) -s SAN=$(SAN) all
	@$(MAKE) -s SAN= build/release/tests/bench/open_loop
	@TEST_BINARY=$(if $(SAN),$(B)/mlpd,build/mlpd) $(BENCH_PYTHON) scripts/soak.py $(ARGS)

.PHONY: install
prefix ?= /usr/local
install: build/mlpd ## install into $(DESTDIR)$(prefix), /usr/local by default
	install -d "$(DESTDIR)$(prefix)/bin" "$(DESTDIR)$(prefix)/share/mlpd"
	install -m 755 build/mlpd "$(DESTDIR)$(prefix)/bin/mlpd"
	install -m 644 config/mlpd.json "$(DESTDIR)$(prefix)/share/mlpd/mlpd.json"
	install -m 644 config/model.schema.json "$(DESTDIR)$(prefix)/share/mlpd/model.schema.json"
	cp -R config/models "$(DESTDIR)$(prefix)/share/mlpd/"
	chmod -R u=rwX,go=rX "$(DESTDIR)$(prefix)/share/mlpd"

.PHONY: clean
clean: ## remove build/
	rm -rf build

.PHONY: help
help: ## list these targets
	@sed -n 's/^\([a-z][a-z -]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target text; do \
	    printf '  make %-18s %s\n' "$$target" "$$text"; done

# --- How things are built ---

# Kept: an object that a later build would have to make again.
.SECONDARY:

build/mlpd: build/release/mlpd
	$(Q)cp -f $< $@

$(B)/mlpd: $(B)/server/main.o $(B)/libmlpd.a
	$(if $(V),,@echo "  LINK $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/libmlpd.a: $(LIBRARY_SOURCES:%.c=$(B)/%.o)
	$(Q)rm -f $@ && ar rcs $@ $^

# One run writes both; the header is named as made of the source, so that make runs it once.
$(GENERATED).c: engine/onnx_schema.proto
	$(if $(V),,@echo "  PROTO $@")
	$(Q)mkdir -p build/generated
	$(Q)protoc-c --proto_path=. --c_out=build/generated $<
$(GENERATED).h: $(GENERATED).c

ONNX_OBJECTS := $(foreach object,$(EVERY_SOURCE:.c=.o),$(if $(findstring onnx,$(object)),$(object)))
$(ONNX_OBJECTS:%=$(B)/%) $(ONNX_OBJECTS:%=build/fuzz/%): | $(GENERATED).h
$(ONNX_OBJECTS:%.o=build/tidy/%.ok): | $(GENERATED).h

$(B)/%.o: %.c Makefile
	$(if $(V),,@echo "  CC   $@")
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS_$*.o) -MMD -MP -c -o $@ $<

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libmlpd.a
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_UNIT)

$(B)/tests/bench/bench_kernels $(B)/tests/bench/kernel_worker: $(B)/tests/bench/peak.o
$(B)/tests/bench/%.so: tests/bench/%.c Makefile
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fPIE,$(CFLAGS_ALL)) -fPIC -shared -o $@ $<

$(B)/tests/bench/%: $(B)/tests/bench/%.o $(B)/libmlpd.a
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/tests/tools/%: $(B)/tests/tools/%.o $(B)/libmlpd.a
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

.PHONY: unit-programs
unit-programs: $(UNIT_SOURCES:%.c=$(B)/%)

# Each fuzz target is built by clang with libFuzzer from the library's sources: build/fuzz/tests/fuzz/fuzz_NAME.
FUZZ_CC ?= clang
FUZZ_FLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
              -U_FORTIFY_SOURCE

build/fuzz/%.o: %.c Makefile
	$(if $(V),,@echo "  FUZZ $@")
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(CFLAGS_ALL) $(CFLAGS_$*.o) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<

build/fuzz/libmlpd.a: $(LIBRARY_SOURCES:%.c=build/fuzz/%.o)
	$(Q)rm -f $@ && ar rcs $@ $^

build/fuzz/tests/fuzz/%: build/fuzz/tests/fuzz/%.o build/fuzz/libmlpd.a
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(LIBS)

# For scripts/lint.sh: every C file compiled once, and each one through clang-tidy with its own flags.
.PHONY: objects tidy
objects: $(EVERY_SOURCE:%.c=$(B)/%.o)
tidy: $(EVERY_SOURCE:%.c=build/tidy/%.ok)

# The analyser looks 8 calls deep, not 5, to where an error is written: else it supposes that a refusal may be STATUS_OK.
TIDY_FLAGS := -Xclang -analyzer-inline-max-stack-depth -Xclang 8

build/tidy/%.ok: %.c $(HEADERS) Makefile .clang-tidy
	$(if $(V),,@echo "  TIDY $<")
	$(Q)mkdir -p $(@D)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $< -- $(CFLAGS_ALL) $(CFLAGS_$*.o) $(TIDY_FLAGS) \
	    2>build/tidy/$*.log || { cat build/tidy/$*.log >&2; exit 1; }
	@touch $@

-include $(EVERY_SOURCE:%.c=$(B)/%.d) $(EVERY_SOURCE:%.c=build/fuzz/%.d)
