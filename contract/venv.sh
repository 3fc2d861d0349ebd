# Sourced in the root of the repository: installs the packages of requirements.txt, and sets venv to the folder that has them.
command -v python3 >/dev/null || { echo "missing python3: install Python 3.10 or newer with its venv module"; exit 1; }
venv=$PWD/.docket/venv
if ! cmp -s contract/requirements.txt "$venv/requirements.txt"; then
  rm -rf "$venv"
  mkdir -p .docket
  python3 -m venv "$venv" || { echo "python3 has no venv module (Debian: apt-get install python3-venv)"; exit 1; }
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement contract/requirements.txt
  cp contract/requirements.txt "$venv/requirements.txt" # copied last, because it marks the folder as complete
fi
