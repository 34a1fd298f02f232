#!/usr/bin/env bash
# The wheel alone: built, installed into an empty environment outside the repository, and run there. Leaves the wheel in
# dist/ and nothing else. `make wheel-smoke`; another Python: `make wheel-smoke PYTHON=python3.13`.
set -euo pipefail
repository="$(cd "$(dirname "$0")/.." && pwd)"
python="${1:-python3}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH PYTHONHOME

"$python" -m venv "$folder/build"
"$folder/build/bin/python" -m pip install --quiet build
rm -f "$repository"/dist/chiasm-*
# By way of the source distribution, so that this holds all that a wheel takes.
"$folder/build/bin/python" -m build --outdir "$repository/dist" "$repository" > "$folder/build.log" 2>&1 || { cat "$folder/build.log"; exit 1; }

"$python" -m venv "$folder/empty"
"$folder/empty/bin/python" -m pip install --quiet --constraint "$repository/constraints.txt" "$repository"/dist/chiasm-*.whl
cd "$folder"
export PATH="$folder/empty/bin:$PATH" CHIASM_CACHE="$folder/cache"
python -c "import chiasm; assert '$folder' in chiasm.__file__, chiasm.__file__; print('chiasm', chiasm.__version__, chiasm.__file__)"
python -c "import chiasm; [getattr(chiasm, name) for name in chiasm.__all__]"
chiasm doctor
chiasm models > models.txt
grep -q llava models.txt
chiasm demo --out demo
test -s demo/report.html
python -c "import chiasm; run = chiasm.open('demo'); assert run.claims.height and run.findings; print(run)"
