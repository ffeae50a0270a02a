# Two commands do everything on a machine with Python 3.11+, pip and make: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

ifeq ($(filter 3.81 3.82 4.% 5.%,$(MAKE_VERSION)),)
$(error make $(MAKE_VERSION) is too old; GNU make 3.81 or newer is needed)
endif

# Where images switch this off, every kernel would compile pandas and the rest anew: two seconds a start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-all bench lab lint golden lock clean

demo: $(VENV)/.installed
	@$(BIN)/smartcar-ops demo

# Four workers on two cores: a third of the time goes into waiting for kernels, browsers and databases.
test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder --full

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.benchmarks

lab: $(VENV)/.installed
	@$(BIN)/smartcar-ops lab

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache

golden: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.golden

lock: $(VENV)/.uv
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 \
		pyproject.toml --group build -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 \
		pyproject.toml --group build --group dev --all-extras -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .sandbox

# A newer lock makes the environment anew; the development one holds all that the other does.
$(VENV)/.installed: requirements.lock pyproject.toml $(VENV)/.uv
	@if [ -e $(VENV)/.installed-dev ]; then $(MAKE) --no-print-directory $(VENV)/.installed-dev; \
	else $(call install,requirements.lock); fi
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml $(VENV)/.uv
	@$(call install,requirements-dev.lock)
	@touch $@ $(VENV)/.installed

$(VENV)/.uv:
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "$(PYTHON) is missing or older than 3.11; Python 3.11 or newer is needed (make PYTHON=python3.12)"; exit 1; }
	@start=$$(date +%s); \
	$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) can't make a virtual environment; install its venv package"; exit 1; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv && touch $@ && \
	echo "Set up $(VENV) in $$(( $$(date +%s) - start )) s"

define install
echo "Installing $(1) …" && start=$$(date +%s) && \
VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python $(1) && \
VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e . && \
echo "Downloaded and installed in $$(( $$(date +%s) - start )) s"
endef
