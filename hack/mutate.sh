#!/usr/bin/env bash
# Mutates packages one after the other and says which changes no test notices:
#
#   hack/mutate.sh ./internal/walk ./optimizer/op
#
# A mutant is killed where a test of its package fails or hangs; it is not covered where no test runs its line. The score is the share of
# all mutants that are killed. Lists lie in out/mutate. Generated code and assembly's twins are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p out/mutate
for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' "$@" | grep -v -e /schema -e /internal/gen -e /internal/simd -e /applyconfiguration); do
	package=./${package#"$PWD"/}
	list=out/mutate/$(echo "${package#./}" | tr / -).txt
	nice -n 10 bin/gremlins unleash --workers "${WORKERS:-1}" --timeout-coefficient "${TIMEOUT:-10}" \
		-E '/' -E '^zz_generated' "$package" >"$list" 2>&1 || { tail -n 3 "$list" >&2; exit 1; }
	awk -v name="$package" '
		$1 == "KILLED" { killed++ } $1 == "TIMED" { killed++ } $1 == "LIVED" { lived++ } $1 == "NOT" { uncovered++ }
		END {
			all = killed + lived + uncovered
			printf "%-28s %4d mutants, %4d killed, %4d survived, %4d not covered, score %.1f %%\n", name, all, killed, lived, uncovered, all ? 100 * killed / all : 100
		}' "$list"
	grep -E '^ *(LIVED|NOT COVERED) ' "$list" || true
done
