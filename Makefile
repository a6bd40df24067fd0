# rpd's build. GNU make; everything made lands in $(BUILD).
#
#   make            build/release/rpd and rpctl
#   make run        what is missing is installed; two demo origins and rpd on 127.0.0.1:8080
#   make check      lint, unit and end-to-end tests, on the release and the sanitizer build
#   make bench      what a request costs, beside nginx and HAProxy (t/bench/run)
#   make SANITIZE=1 any target, with ASan and UBSan, in build/asan (make asan builds it)
#   make WERROR=1   warnings are errors     make V=1   shows the commands
#   make FUZZ=1 fuzz-programs   t/fuzz with clang and libFuzzer, in build/fuzz
#   make CC=clang   another compiler        make BUILD=dir   another place

VERSION = 0.1.0
PREFIX  = /usr/local
BUILD   = build/$(if $(FUZZ),fuzz,$(if $(SANITIZE),asan,release))

# What is built from what.
RPD_SRC   := $(wildcard master/*.c helper/*.c worker/*.c worker/*/*.c common/*/*.c)
RPCTL_SRC := $(wildcard ctl/*.c common/base/*.c common/core/*.c common/route/*.c)
# The unit tests link what they need of everything that holds no main().
LIB_SRC   := $(filter-out %/main.c,$(sort $(RPD_SRC) $(RPCTL_SRC)))
# What reads bytes of strangers, and what lies below it.
FUZZ_SRC  := $(wildcard helper/*.c worker/http/*.c worker/io/*.c common/*/*.c)
UNIT      := $(patsubst t/unit/%.c,$(BUILD)/unit/%,$(wildcard t/unit/test_*.c))
FUZZERS   := $(patsubst t/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard t/fuzz/fuzz_*.c))
BENCH     := $(patsubst %,$(BUILD)/bench/%,floor load origin)
MAN       := $(patsubst man/%,$(BUILD)/man/%,$(wildcard man/*.[1-9]))

# llhttp: Debian packages its sources (node-llhttp), others a library.
LLHTTP_DIR := $(wildcard /usr/share/llhttp)
ifdef LLHTTP_DIR
LLHTTP_SRC := $(wildcard $(LLHTTP_DIR)/*.c)
LLHTTP_CPP := -isystem /usr/share/include/llhttp
else
LLHTTP_CPP := $(shell pkg-config --cflags libllhttp)
LLHTTP_LIB := $(or $(shell pkg-config --libs libllhttp),-lllhttp)
endif

# Libraries of codings, each where its header is.
has = $(shell printf '\043include <$(1)>\n' | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1 && \
        echo 1 || echo 0)
HAS_ZLIB   := $(call has,zlib.h)
HAS_ZSTD   := $(call has,zstd.h)
HAS_BROTLI := $(call has,brotli/encode.h)
CODING_CPP  = -DRPD_HAS_ZLIB=$(HAS_ZLIB) -DRPD_HAS_ZSTD=$(HAS_ZSTD) -DRPD_HAS_BROTLI=$(HAS_BROTLI)
CODING_LIBS = $(if $(filter 1,$(HAS_ZLIB)),-lz) $(if $(filter 1,$(HAS_ZSTD)),-lzstd) \
              $(if $(filter 1,$(HAS_BROTLI)),-lbrotlienc)

# Flags. CFLAGS, CPPFLAGS and LDFLAGS are the builder's own; they come last.
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
       -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wswitch-enum \
       $(if $(WERROR),-Werror)
CPP  = -I. -D_GNU_SOURCE -DLLHTTP_STRICT_MODE=1 $(LLHTTP_CPP) $(CODING_CPP) \
       -DRPD_VERSION='"$(VERSION)"'
LIBS = $(LLHTTP_LIB) -linih -lpcre2-8 -lm
TLS_LIBS = -lssl -lcrypto -lcrypt
DNS_LIBS = -lcares -lresolv

ifdef FUZZ
CC = clang
endif
IS_CLANG := $(findstring clang,$(shell $(CC) --version))
ifdef FUZZ
OPT  = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link \
       -fno-sanitize-recover=all
LINK = $(OPT)
else ifdef SANITIZE
OPT  = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LINK = $(OPT)
else
# Unit tests link the objects' machine code (gcc): a hundred links that optimise anew take minutes.
LTO  = $(if $(IS_CLANG),-flto,-flto=auto -ffat-lto-objects)
UNIT_LINK = $(if $(IS_CLANG),,-fno-lto)
OPT  = -O2 -g $(LTO) -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LINK = $(OPT) $(if $(IS_CLANG),-fuse-ld=lld) -pie -Wl,-z,relro,-z,now -Wl,--as-needed
endif
# Archives of LTO objects need the compiler's own ar.
AR = $(if $(IS_CLANG),llvm-ar,gcc-ar)

CC_ALL   = $(CC) -std=c11 -fno-common $(OPT) $(CPP) $(CPPFLAGS)
CC_OURS  = $(CC_ALL) $(CFLAGS)
CC_LINK  = $(CC) $(LINK) $(CFLAGS) $(LDFLAGS)
FLAGS   := $(CC_OURS) | $(CC_LINK) $(LIBS) $(TLS_LIBS) $(DNS_LIBS) $(CODING_LIBS)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1)) $(patsubst %.c,$(BUILD)/llhttp/%.o,$(notdir $(2)))
RPD_OBJ   := $(call obj,$(RPD_SRC),$(LLHTTP_SRC))
RPCTL_OBJ := $(call obj,$(RPCTL_SRC))
LIB_OBJ   := $(call obj,$(if $(FUZZ),$(FUZZ_SRC),$(LIB_SRC)),$(LLHTTP_SRC))

Q  = $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-5s %s\n' $(1) $(2))

all: $(BUILD)/rpd $(BUILD)/rpctl

$(BUILD)/rpd: $(RPD_OBJ) $(BUILD)/sources
	$(call say,LINK,$@)
	$(Q)$(CC_LINK) -o $@ $(filter %.o,$^) $(LIBS) $(TLS_LIBS) $(DNS_LIBS) $(CODING_LIBS)

$(BUILD)/rpctl: $(RPCTL_OBJ) $(BUILD)/sources
	$(call say,LINK,$@)
	$(Q)$(CC_LINK) -o $@ $(filter %.o,$^) $(LIBS)

$(BUILD)/librpd.a: $(LIB_OBJ) $(BUILD)/sources
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) qcs $@ $(filter %.o,$^)

$(BUILD)/unit/%: $(BUILD)/obj/t/unit/%.o $(BUILD)/librpd.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC_LINK) $(UNIT_LINK) -o $@ $^ $(LIBS) $(TLS_LIBS) $(DNS_LIBS) $(CODING_LIBS) \
	    $(shell pkg-config --libs check)

$(BUILD)/fuzz/%: $(BUILD)/obj/t/fuzz/%.o $(BUILD)/librpd.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC_LINK) -fsanitize=fuzzer -o $@ $^ $(LIBS) $(TLS_LIBS) $(DNS_LIBS) $(CODING_LIBS)

$(BUILD)/bench/load: $(BUILD)/obj/t/bench/answer.o
$(BUILD)/bench/load $(BUILD)/bench/floor: $(BUILD)/obj/t/bench/tls.o
$(BUILD)/bench/load $(BUILD)/bench/floor: BENCH_LIBS = $(TLS_LIBS)
$(BUILD)/bench/%: $(BUILD)/obj/t/bench/%.o $(BUILD)/obj/t/bench/net.o
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC_LINK) -o $@ $^ $(BENCH_LIBS)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC_OURS) $(WARN) -MMD -MP -c -o $@ $<

$(BUILD)/llhttp/%.o: $(LLHTTP_DIR)/%.c $(BUILD)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC_ALL) -w -MMD -MP -c -o $@ $<

# Files that change when what they hold does: other flags (but for warnings) make everything anew,
# another list of sources links again.
$(BUILD)/flags: TEXT = $(FLAGS)
$(BUILD)/sources: TEXT = $(LIB_SRC)
$(BUILD)/flags $(BUILD)/sources: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)printf '%s\n' '$(subst ','\'',$(TEXT))' | cmp -s - $@ || \
	    printf '%s\n' '$(subst ','\'',$(TEXT))' >$@

# Manual pages, their tables filled in by the programs (see man/expand).
man: $(MAN)

$(BUILD)/man/%: man/% man/expand $(BUILD)/rpd $(BUILD)/rpctl
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)man/expand $(BUILD) $(VERSION) $< >$@.new && mv $@.new $@

# The sample configuration: every key, commented, from the table of settings.
$(BUILD)/rpd.ini: $(BUILD)/rpd
	$(Q)$< --help-config=sample >$@.new && mv $@.new $@

run: deps-run
	$(Q)$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc)) all
	$(Q)t/demo/run $(BUILD)

deps-run deps-check deps-bench: deps-%:
	$(Q)t/deps $*

asan:
	$(Q)$(MAKE) --no-print-directory SANITIZE=1 all

unit-programs: $(UNIT)

unit: $(UNIT)
	$(Q)t/check unit $(BUILD)

e2e: all
	$(Q)t/check e2e $(BUILD)

lint: man
	$(Q)t/check lint $(BUILD)

check: deps-check
	$(Q)t/check all

# For t/lint, which compiles with compilers of its own choice.
print-flags:
	@echo -std=c11 -fno-common $(CPP) $(WARN)

fuzz-programs: $(FUZZERS)

bench-programs: $(BENCH)

# SCENARIO="h1_1k tcp_1k" ROUNDS=5 MEASURE="cpu calls": t/bench/run has them all.
bench: deps-bench
	$(Q)$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc)) all \
	    bench-programs
	$(Q)t/bench/run $(BUILD)

# Installation. Distributions set PREFIX=/usr; /etc is /etc wherever the programs are. Files that
# name the programs are written for /usr/local in the tree.
SYSCONFDIR = /etc
SHARE = $(PREFIX)/share
INSTALLED = $(PREFIX)/sbin/rpd $(PREFIX)/bin/rpctl $(SYSCONFDIR)/init.d/rpd \
            $(SYSCONFDIR)/default/rpd $(SYSCONFDIR)/logrotate.d/rpd \
            $(PREFIX)/lib/systemd/system/rpd.service \
            $(SHARE)/bash-completion/completions/rpctl \
            $(foreach page,$(notdir $(MAN)),$(SHARE)/man/man$(subst .,,$(suffix $(page)))/$(page))

# $(call put,mode,file,where)
put = sed 's|/usr/local|$(PREFIX)|g' $(2) | install -D -m $(1) /dev/stdin $(DESTDIR)$(3)

install: all man $(BUILD)/rpd.ini
	$(Q)install -D -m 755 $(BUILD)/rpd $(DESTDIR)$(PREFIX)/sbin/rpd
	$(Q)install -D -m 755 $(BUILD)/rpctl $(DESTDIR)$(PREFIX)/bin/rpctl
	$(Q)$(call put,755,etc/init.d/rpd,$(SYSCONFDIR)/init.d/rpd)
	$(Q)$(call put,644,etc/default/rpd,$(SYSCONFDIR)/default/rpd)
	$(Q)$(call put,644,etc/logrotate/rpd,$(SYSCONFDIR)/logrotate.d/rpd)
	$(Q)$(call put,644,etc/rpd.service,$(PREFIX)/lib/systemd/system/rpd.service)
	$(Q)$(call put,644,etc/bash-completion/rpctl,$(SHARE)/bash-completion/completions/rpctl)
	$(Q)$(foreach page,$(MAN),$(call put,644,$(page),$(SHARE)/man/man$(subst .,,$(suffix \
	    $(page)))/$(notdir $(page))) &&) true
	$(Q)[ -e $(DESTDIR)$(SYSCONFDIR)/rpd/rpd.ini ] || \
	    $(call put,644,$(BUILD)/rpd.ini,$(SYSCONFDIR)/rpd/rpd.ini)
	@echo "installed in $(DESTDIR)$(PREFIX); configuration: $(DESTDIR)$(SYSCONFDIR)/rpd/rpd.ini"

# Leaves the configuration.
uninstall:
	$(Q)rm -f $(addprefix $(DESTDIR),$(INSTALLED))

clean:
	rm -rf build

FORCE:
.PHONY: all man run deps-run deps-check deps-bench asan unit-programs unit e2e lint check \
        print-flags fuzz-programs bench-programs bench install uninstall clean FORCE
.DELETE_ON_ERROR:
.SECONDARY:

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
