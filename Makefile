# SPDX-License-Identifier: LGPL-2.1-or-later
#
# For people. The build system is meson; this says the usual commands for them, and sets up a fresh machine first.

# D-Bus and polkit look for a system service's files below /usr and /etc only, not below /usr/local
PREFIX = /usr
BUILD = build
BUILD_ASAN = build-asan
BUILD_FUZZ = build-fuzz
FUZZ_SECONDS = 60
NEMESIS_DIRECTORY = /var/tmp
NEMESIS_FAULTS = 1000

MESON_OPTIONS = --prefix=$(PREFIX) $(if $(CI),-Dwerror=true)
PYTHON = /usr/bin/python3
# Tests wait more than they compute
MESON_TEST = meson test --no-rebuild --print-errorlogs --num-processes=$$((2 * $$(nproc)))
SUMMARY = $(PYTHON) tests/house/summary.py

# A report of a sanitizer ends the program with SIGABRT, a leak included. AddressSanitizer keeps its reports in files, for the case that
# a test does not look at how a service ended (UndefinedBehaviorSanitizer of gcc can't: its reports are in the log of the tests).
REPORTS = $(CURDIR)/$(BUILD_ASAN)/reports
SANITIZED = DIRECTSERVER_SANITIZED=1 \
        ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1:log_path=$(REPORTS)/asan \
        UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1

all: $(BUILD)/build.ninja
	meson compile -C $(BUILD)

help:
	@echo 'make           build into $(BUILD)/'
	@echo 'make demo      watch a computation run through a private service; sets up the machine first'
	@echo 'make check     build and run all tests; sets up the machine first'
	@echo 'make sanitize  all tests again, under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make system-check  the packages, in machines that run a real systemd: installation, restarts, upgrades, purge (needs root)'
	@echo 'make valgrind  the unit tests, and services that the conformance tests talk to, under valgrind'
	@echo 'make fuzz      each fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS) (needs clang)'
	@echo 'make nemesis   $(NEMESIS_FAULTS) kills of the service, and then as many resets of links, in an exchange of 20 clients and in a'
	@echo '               transfer of 8 GiB each; or less: NEMESIS_FAULTS=100'
	@echo 'make herd      1,000 clients that lose their service at once and come back; or more: HERD=--clients=5000'
	@echo 'make bench     what a message costs here, at a bare relay, and at NATS, Redis, Mosquitto, ZeroMQ and RabbitMQ, and in their client'
	@echo '               libraries, which are unpacked below $(BUILD)/peers and not installed; QUICK=1: in some minutes; BENCH=--filter=pairs: see BENCH=--help'
	@echo 'make rpm       the RPM packages of what is committed, into $(BUILD)/rpm/; RPMBUILD=--nocheck: without their tests'
	@echo 'make abi       write client/libdirectclient.abi anew, and say what has changed (needs abidiff)'
	@echo 'make install   install below PREFIX=$(PREFIX) (DESTDIR= for packagers)'
	@echo 'make deb       the Debian packages of what is committed, into $(BUILD)/deb/; DEB_BUILD_OPTIONS=nocheck: without their tests'
	@echo 'make dist      the source archive of what is committed, and its checksum, into $(BUILD)/dist/'
	@echo 'make clean     remove the build directories'

setup:
	@packaging/install-build-deps build

setup-check:
	@packaging/install-build-deps build check

setup-asan:
	@packaging/install-build-deps build check asan

setup-valgrind:
	@packaging/install-build-deps build check grind

setup-fuzz:
	@packaging/install-build-deps build check fuzz

setup-system:
	@packaging/install-build-deps build deb system

setup-bench:
	@packaging/install-build-deps build bench

setup-deb:
	@packaging/install-build-deps build deb

# Only a directory that is not set up yet is: options that were chosen by hand are kept
$(BUILD)/build.ninja: | setup
	meson setup $(MESON_OPTIONS) $(BUILD)

$(BUILD_ASAN)/build.ninja: | setup-asan
	meson setup $(MESON_OPTIONS) -Db_sanitize=address,undefined -Db_lundef=false $(BUILD_ASAN)

$(BUILD_FUZZ)/build.ninja: | setup-fuzz
	CC=clang meson setup -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false $(BUILD_FUZZ)

demo: setup all
	packaging/demo

check: setup-check all
	@rm -f $(BUILD)/meson-logs/testlog.json
	@$(MESON_TEST) -C $(BUILD); r=$$?; \
	$(SUMMARY) $(BUILD)/meson-logs/testlog.json && exit $$r

sanitize: setup-asan $(BUILD_ASAN)/build.ninja
	meson compile -C $(BUILD_ASAN)
	@rm -rf $(REPORTS) $(BUILD_ASAN)/meson-logs/testlog.json && mkdir $(REPORTS)
	@$(SANITIZED) $(MESON_TEST) -C $(BUILD_ASAN) --timeout-multiplier=4; r=$$?; \
	$(SUMMARY) $(BUILD_ASAN)/meson-logs/testlog.json $(BUILD_ASAN)/meson-logs/testlog.txt $(REPORTS) && exit $$r

# It says by itself what it tests: the packages of what is committed
system-check: setup-system all
	tests/system/prepare $(BUILD)/system
	@rm -f $(BUILD)/meson-logs/systemlog.json
	@$(MESON_TEST) -C $(BUILD) --suite=system --logbase=systemlog; r=$$?; \
	$(SUMMARY) $(BUILD)/meson-logs/systemlog.json && exit $$r

valgrind: setup-valgrind all
	meson test -C $(BUILD) --no-rebuild --print-errorlogs --suite=unit --timeout-multiplier=20 \
	        --wrap='valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect'
	tests/integration/under-valgrind $(BUILD)

fuzz: setup-fuzz $(BUILD_FUZZ)/build.ninja
	meson compile -C $(BUILD_FUZZ)
	tests/fuzz/run $(BUILD_FUZZ) $(FUZZ_SECONDS)

# Most of the kills come before all links are back from the last. The files need 18 GiB in NEMESIS_DIRECTORY. Kills by themselves, because
# what is sent again is counted for each of them only if nothing else is done.
nemesis: setup-check all
	@for faults in '--kills=$(NEMESIS_FAULTS) --others=0' '--kills=0 --others=0 --links=$(NEMESIS_FAULTS)' '--kills=100 --others=100'; do \
	        echo "nemesis.py $$faults"; \
	        DIRECTSERVER_EXECUTABLE=$(CURDIR)/$(BUILD)/service/directserver \
	        NEMESIS_CLIENT_EXECUTABLE=$(CURDIR)/$(BUILD)/tests/nemesis/nemesis-client \
	        $(PYTHON) -B tests/nemesis/nemesis.py $$faults --clients=20 --messages=1000000 --size-file=8589934592 \
	                --gap=2 --directory=$(NEMESIS_DIRECTORY) $(NEMESIS) || exit; \
	done

# Each fails when a message is delivered later than 2 s after a restart, so the machine should have nothing else to do.
herd: setup-check all
	$(BUILD)/tests/nemesis/herd --service=$(BUILD)/service/directserver --within=2000 $(HERD)
	$(BUILD)/tests/nemesis/herd --service=$(BUILD)/service/directserver --within=2000 --local $(HERD)
	$(BUILD)/tests/nemesis/herd --service=$(BUILD)/service/directserver --within=2000 --term $(HERD)

bench: setup-bench all
	bench/unpack-peers $(BUILD)/peers
	$(PYTHON) -B bench/bench-peers.py --build=$(BUILD) $(if $(QUICK),--quick) $(BENCH)
	@rm -f $(BUILD)/meson-logs/benchmarklog.json
	@meson test -C $(BUILD) --no-rebuild --benchmark --verbose --logbase=benchmarklog library; r=$$?; \
	$(SUMMARY) $(BUILD)/meson-logs/benchmarklog.json && exit $$r

abi: setup-check all
	$(PYTHON) -B tests/client/abi.py client/libdirectclient.abi client/directclient.h $(BUILD)/client/libdirectclient.so --update

setup-rpm:
	@packaging/install-build-deps build rpm

rpm: setup-rpm
	packaging/rpm/build $(BUILD)/rpm $(RPMBUILD)

install: all
	meson install -C $(BUILD) --no-rebuild
	@[ -n "$(DESTDIR)" ] || packaging/after-install

# Where git and xz are, which is nearly everywhere, this needs nothing else
dist:
	@packaging/dist $(BUILD)/dist

deb: setup-deb
	@packaging/deb $(BUILD)/deb

clean:
	rm -rf $(BUILD) $(BUILD_ASAN) $(BUILD_FUZZ)

.NOTPARALLEL:
.PHONY: all help setup setup-check setup-asan setup-valgrind setup-fuzz setup-bench setup-deb setup-rpm setup-system demo check \
        sanitize system-check valgrind fuzz nemesis herd bench abi install dist deb rpm clean
