#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each (default 30s); fails at the end if one of them did.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s} failed=()
out=$(mktemp) && trap 'rm -f "$out"' EXIT

# fuzz PACKAGE TARGET: go test reports the end of the time itself as a failure now and then (golang.org/issue/75804): once more, then.
fuzz() {
  local try
  for try in 1 2; do
    go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 50x "$1" < /dev/null 2>&1 | tee "$out" && return 0
    grep -q 'context deadline exceeded' "$out" && ! grep -q 'Failing input written' "$out" || return 1
  done
  return 1
}

while read -r package target; do
  echo "== $package $target"
  fuzz "$package" "$target" || failed+=("$package $target")
done < <(
  go list -f '{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}' ./... |
    while read -r package file; do sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|$package \1|p" "$file"; done
)
for f in ${failed[@]+"${failed[@]}"}; do echo "failed: $f"; done
exit $((${#failed[@]} > 0))
