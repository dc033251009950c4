#!/usr/bin/env bash
# Mutates packages one after the other and says which changes no test notices:
#
#   hack/mutate.sh ./internal/walk ./optimizer/op
#
# A mutant is killed where a test of its package fails, not covered where none runs its line, and no mutant where it does not compile. One whose
# tests did not end in time may be an endless loop, or the machine was busy: those are counted apart. The score is the share of all mutants that
# are killed, the others with them. Lists lie in out/mutate. Generated code and assembly's twins are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p out/mutate/bin
export GOFLAGS="${GOFLAGS-} -trimpath" # the copy that is changed is built from what was built here

# gremlins takes every `go test` that fails for a test that noticed, also where nothing compiled or only vet objected, and for not covered what no
# profile of coverage has: what lies outside functions, and the conditions of cases. It calls this go, which tells these apart.
cat >out/mutate/bin/go <<EOS
#!/usr/bin/env bash
go=$(command -v go)
[[ \${1-} = test ]] || exec "\$go" "\$@"
shift
if [[ \$1 != -cover ]]; then
	"\$go" build "\${!#}" || exit 2
	exec "\$go" test -vet=off -ldflags=-w "\$@"
fi
"\$go" test -vet=off -count 1 "\$@" || exit # timed: what a mutant may take is reckoned from it
"\$go" list -f '{{\$p := .}}{{range .GoFiles}}{{\$p.Dir}}/{{.}} {{\$p.ImportPath}}/{{.}}{{"\n"}}{{end}}' "\${!#}" | while read -r file name; do
	[[ -z \$file ]] || awk -v name="\$name" '/^func / && !/}\$/ { inside = 1 } !inside && !/^func / || /^\t+case .*:/ { print name ":" FNR ".1," FNR ".999 1 1" } /^}/ { inside = 0 }' "\$file"
done >>"\$3"
EOS
chmod +x out/mutate/bin/go

for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' "$@" | grep -v -e /schema -e /internal/gen -e /internal/simd -e /applyconfiguration); do
	package=./${package#"$PWD"/}
	list=out/mutate/$(echo "${package#./}" | tr / -).txt
	PATH=$PWD/out/mutate/bin:$PATH nice -n 10 bin/gremlins unleash --workers "${WORKERS:-1}" --timeout-coefficient "${TIMEOUT:-10}" \
		-E '/' -E '^zz_generated' "$package" >"$list" 2>&1 || { tail -n 3 "$list" >&2; exit 1; }
	awk -v name="$package" '
		$1 == "KILLED" { killed++ } $1 == "TIMED" { late++ } $1 == "LIVED" { lived++ } $1 $2 == "NOTCOVERED" { uncovered++ }
		END {
			all = killed + late + lived + uncovered
			printf "%-28s %4d mutants, %4d killed, %3d timed out, %4d survived, %4d not covered, score %.1f %%\n", name, all, killed, late, lived, uncovered, all ? 100 * killed / all : 100
		}' "$list"
	grep -E '^ *(LIVED|NOT COVERED|TIMED OUT) ' "$list" || true
done
