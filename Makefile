# Everything runs in .venv, which the first command makes. Nothing outside of this folder is changed,
# except for system packages that are named below and only where you are root.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OUTPUT := demo-output
# Idle threads sleep instead of spinning: several times faster when another program wants the cores.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test lint docs bench screenshots clean

demo: $(VENV)/.ready
	@$(RUN) -m Testing.demo.run --output $(OUTPUT)

test: $(VENV)/.ready lint docs
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile  # a thread for each process
	@echo "Linters and tests passed: the core against SimpleITK and MONAI, the Slicer side on real MRML,"
	@echo "the CMake files with the real cmake. What was skipped and why is listed above. The tests: Testing/."

lint: $(VENV)/.ready
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

# The pages and the API reference; a link or a reference that leads nowhere is an error.
docs: $(VENV)/.ready
	@$(RUN) -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build

bench: $(VENV)/.ready-bench
	@$(RUN) -m benchmarks.run

# Every state of the panels; the few that README shows are chosen from them by hand.
screenshots: $(VENV)/.ready
	@QT_QPA_PLATFORM=offscreen $(RUN) -m Testing.gui.screenshots --output screenshots

clean:
	rm -rf $(VENV) $(OUTPUT) screenshots benchmarks/results docs/_build

# ICON's own package, to compare with; what it depends on would bring another torch.
OFFICIAL := icon_registration==1.1.9 footsteps==0.1.9 tqdm==4.70.1

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || $(INSTALL_VENV)
	@echo "Making the environment in $(VENV) (about 2.7 GB, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[slicer,gui,test,lint,docs]"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps $(OFFICIAL)
	@$(RUN) -c "from PySide6 import QtWidgets" 2>/dev/null || $(INSTALL_QT_LIBRARIES)
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	@touch $@

# A bare Debian lacks what Qt needs off the screen; without it the panels are not tested.
QT_LIBRARIES := libegl1 libgl1 libxkbcommon0 libfontconfig1 libdbus-1-3 fonts-dejavu-core
INSTALL_QT_LIBRARIES = { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing the libraries that Qt needs ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends $(QT_LIBRARIES) >/dev/null || true; \
	else \
		echo "Panels cannot be shown. Type: sudo apt-get install --yes $(QT_LIBRARIES)"; \
	fi; }

# Debian ships Python without what makes environments.
INSTALL_VENV = { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing python3-venv ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv >/dev/null; \
	else \
		echo "Python cannot make environments here. Type: sudo apt-get install --yes python3-venv"; \
		false; \
	fi; }
