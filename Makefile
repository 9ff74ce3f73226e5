# mlpd's build. `make` builds, `make help` lists the targets. Each flavour has its own folder under build/:
# build/release (whose program is copied to build/mlpd), and with SAN=address or SAN=thread build/address, build/thread.

SAN ?=
CC ?= gcc
FLAVOUR := $(if $(SAN),$(SAN),release)
B := build/$(FLAVOUR)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wcast-qual -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wno-missing-field-initializers
OPTIMISE := -O2 -g
SANITIZE_address := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SANITIZE_thread  := -fsanitize=thread -fno-omit-frame-pointer
SANITIZE := $(if $(SAN),$(SANITIZE_$(SAN)))
# -ffp-contract=off: a multiplication and an addition are fused where the source says fma, and nowhere else, so that a
# row's result does not depend on which loop the compiler saw it in.
CFLAGS_ALL := -std=gnu11 $(OPTIMISE) $(WARNINGS) -ffp-contract=off -fno-math-errno -fstack-protector-strong \
              -D_GNU_SOURCE -D_FORTIFY_SOURCE=$(if $(SAN),0,2) -pthread -I. $(SANITIZE) $(CFLAGS)
LDFLAGS_ALL := -pthread $(SANITIZE) -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS := -lmicrohttpd -lcjson -lm

# One instruction set per file, its flags on that file only.
CFLAGS_kernels/cpu_avx2.o   := -mavx2 -mfma -mf16c
CFLAGS_kernels/cpu_avx512.o := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
# stb_image adds and shifts ints beyond their range for a corrupt JPEG; the file says why that is harmless.
CFLAGS_server/image_stb.o   := -fno-sanitize=shift,signed-integer-overflow

SOURCES := $(wildcard server/*.c engine/*.c kernels/*.c)
OBJECTS := $(patsubst %.c,$(B)/%.o,$(filter-out server/main.c,$(SOURCES)))
UNIT_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*/test_*.c))

PROGRAM := $(B)/mlpd

.PHONY: all
all: $(if $(SAN),$(PROGRAM),build/mlpd)

build/mlpd: $(B)/mlpd
	cp -f $< $@

$(PROGRAM): $(B)/server/main.o $(B)/libmlpd.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/libmlpd.a: $(OBJECTS)
	rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(CFLAGS_$*.o) -MMD -MP -c -o $@ $<

$(B)/tests/unit/%: tests/unit/%.c $(B)/libmlpd.a Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -MF $@.d $(LDFLAGS_ALL) -o $@ $< $(B)/libmlpd.a -lcheck -lsubunit $(LIBS)

.PHONY: unit
unit: $(UNIT_TESTS)
	@for t in $(UNIT_TESTS); do $$t || exit 1; done

.PHONY: clean
clean:
	rm -rf build

-include $(OBJECTS:.o=.d) $(B)/server/main.d $(addsuffix .d,$(UNIT_TESTS))

# Each fuzz target is built by clang with libFuzzer from the library's sources: build/fuzz/tests/fuzz/fuzz_NAME.
FUZZ_CC ?= clang
FUZZ_TARGETS := $(patsubst %.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_OBJECTS := $(patsubst %.c,build/fuzz/%.o,$(filter-out server/main.c,$(SOURCES)))
FUZZ_FLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

build/fuzz/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(FUZZ_CC) $(filter-out -D_FORTIFY_SOURCE=%,$(CFLAGS_ALL)) $(CFLAGS_$*.o) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<

build/fuzz/libmlpd.a: $(FUZZ_OBJECTS)
	rm -f $@ && ar rcs $@ $^

build/fuzz/tests/fuzz/%: build/fuzz/tests/fuzz/%.o build/fuzz/libmlpd.a
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(LIBS)

.SECONDARY: $(addsuffix .o,$(FUZZ_TARGETS))

.PHONY: fuzz
fuzz: $(FUZZ_TARGETS)

-include $(FUZZ_OBJECTS:.o=.d) $(addsuffix .d,$(FUZZ_TARGETS))
